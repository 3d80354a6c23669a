import { createPool, type Pool } from 'generic-pool'
import { ConnectionLostError, TimeoutError, toError } from '../core/errors.js'
import { TimeLimit, waitWithin } from '../core/time-limit.js'
import { abortReason, now } from '../core/timing.js'
import { classify } from './classify.js'
import type { DriverConnection } from './driver.js'
import { Session } from './session.js'

/** @internal */
export interface NodePoolOptions {
  /** `host:port`, for messages. */
  readonly name: string
  readonly connectionLimit: number
  readonly connectTimeoutMs: number
  readonly maxLifetimeMs: number
  /** A connection that idled for longer is pinged before it is handed out. */
  readonly validateAfterIdleMs: number
  readonly validateTimeoutMs: number
  /** Opens a connection, session set-up included. */
  readonly dial: (signal: AbortSignal) => Promise<DriverConnection>
  /** Told of every dial that failed and of every idle connection that died. */
  readonly onFailure: (error: Error) => void
  /** Told when a slot may have become free. */
  readonly onRoom: () => void
}

/** Connection counts of one node. */
export interface NodePoolStatus {
  readonly total: number
  readonly idle: number
  readonly borrowed: number
  readonly connecting: number
}

/** generic-pool repeats a failing `create` in a hot loop, so a failed dial is delivered as a resource born broken. */
interface Slot {
  readonly session: Session | undefined
  readonly error: Error | undefined
  /** The one who waited for a broken slot was served otherwise: its error is nobody's any more. */
  isStale: boolean
}

/** Dials under way at once to one node: a failover must not stampede. */
const MAX_DIALS = 4
/** Pause after a failed dial, doubled per failure: at most one dial per second to a dead node. */
const REDIAL_MIN_MS = 50
const REDIAL_MAX_MS = 1000
/** Wrong credentials are not tried again for so long: servers lock accounts. */
const REFUSED_REDIAL_MS = 30_000
/** Lifetimes differ by so much, so that connections opened together do not end together. */
const LIFETIME_VARIANCE = 0.05

/**
 * The connections of one node.
 *
 * The gate before it asks only when `hasRoom` is true, so that waiters stay in the gate's queue, where they can move to
 * another node. generic-pool dials, counts, validates and ends connections; those that were used a moment ago stay out of
 * it in `#ready` (for it they are lent), because a way through it costs as much as a query. A connection is in one of
 * `#borrowed` (a caller holds it), `#ready` and `#parked` (in generic-pool, validated before use). @internal
 */
export class NodePool {
  readonly #options: NodePoolOptions
  readonly #pool: Pool<Slot>
  readonly #slots = new Map<Session, Slot>()
  readonly #borrowed = new Set<Session>()
  /** Used last at the end. */
  readonly #ready: Session[] = []
  readonly #parked = new Set<Session>()
  readonly #closed = new AbortController()
  #acquiring = 0
  #dials = 0
  #failures = 0
  #redialTimer: NodeJS.Timeout | undefined
  /** Why no dial is made for a while: a dial or a ping failed, or the node is down. */
  #holdCause: Error | undefined
  /** Aborted when connections that are being opened are not wanted any more. */
  #era = new AbortController()

  constructor(options: NodePoolOptions) {
    this.#options = options
    this.#pool = createPool<Slot>(
      {
        create: () => this.#create(),
        destroy: (slot) => this.#destroy(slot),
        validate: (slot) => this.#validate(slot),
      },
      { max: options.connectionLimit, min: 0, testOnBorrow: true, autostart: false, fifo: false },
    )
  }

  /** True when `acquire` would get an idle connection or may dial. */
  get hasRoom(): boolean {
    if (this.#closed.signal.aborted) return false
    if (this.#ready.length > 0 || this.#usableParked() > this.#acquiring) return true
    const total = this.#borrowed.size + this.#acquiring
    return total < this.#options.connectionLimit && this.#acquiring < MAX_DIALS && this.#holdCause === undefined
  }

  /** Connections that are borrowed or about to be. */
  get busyCount(): number {
    return this.#borrowed.size + this.#acquiring
  }

  /** A connection that was used a moment ago, if there is one. */
  takeReady(): Session | undefined {
    for (let session = this.#ready.pop(); session !== undefined; session = this.#ready.pop()) {
      if (now() - session.idleSince >= this.#options.validateAfterIdleMs) {
        // The others idle for longer still.
        for (const stale of [...this.#ready.splice(0), session]) this.#park(stale)
        return undefined
      }
      if (session.isReusable && !session.isExpired) {
        this.#borrowed.add(session)
        return session
      }
      this.#end(session)
    }
    return undefined
  }

  /** A connection, or the error of the dial. Bounded by the connect time-out. */
  async acquire(): Promise<Session> {
    const ready = this.takeReady()
    if (ready !== undefined) return ready
    this.#acquiring += 1
    try {
      const slot = await this.#pool.acquire()
      if (slot.session === undefined) {
        void this.#pool.destroy(slot)
        throw slot.error ?? new Error('bug: a broken slot has an error')
      }
      this.#parked.delete(slot.session)
      if (!slot.session.isReusable) {
        this.#end(slot.session)
        throw new ConnectionLostError(this.#options.name, 'it was left meanwhile', { safeToRetry: true })
      }
      this.#borrowed.add(slot.session)
      return slot.session
    } finally {
      this.#acquiring -= 1
      this.#options.onRoom()
    }
  }

  /** The connection with the server's id `threadId`, if it is one of these. */
  find(threadId: number): DriverConnection | undefined {
    for (const { connection } of this.#slots.keys()) {
      if (connection.threadId === threadId && connection.lost === undefined) return connection
    }
    return undefined
  }

  /** Takes a connection back; one that is lost or in an unknown state is replaced. */
  release(session: Session): void {
    if (!this.#borrowed.delete(session)) return
    session.idleSince = now()
    if (!session.isReusable || this.#closed.signal.aborted) this.#end(session)
    // Somebody waits for a dial or a validation and had better take this one.
    else if (this.#pool.pending > 0) this.#park(session)
    else this.#ready.push(session)
    this.#options.onRoom()
  }

  /**
   * Cuts every connection, borrowed, idle and being opened, and opens no other until {@link NodePool.allowDial}: what runs
   * on them rejects with `error`, and whoever waits for one learns at once that there is none.
   */
  cutAll(error: Error): void {
    clearTimeout(this.#redialTimer)
    this.#redialTimer = undefined
    this.#holdCause = error
    this.#newEra(error)
    for (const session of this.#slots.keys()) session.connection.cut(error)
    this.#sortOut()
  }

  /** Hands out no connection of before any more: idle ones end now, borrowed ones at their release. */
  retire(isOld: (connection: DriverConnection) => boolean): void {
    for (const session of this.#slots.keys()) {
      if (!isOld(session.connection)) continue
      session.spoil()
      if (!this.#borrowed.has(session)) session.connection.quit()
    }
    this.#sortOut()
  }

  /** The same with all, and with those that are being opened: they may lead to another server. */
  retireAll(): void {
    this.#newEra(new ConnectionLostError(this.#options.name, 'it was left while it was opened', { safeToRetry: true }))
    this.retire(() => true)
  }

  /** Opens a connection when none is usable. Resolves to the error of the dial, if it failed, or of the one before. */
  async warm(): Promise<Error | undefined> {
    if ([...this.#slots.keys()].some((session) => session.isReusable)) return undefined
    if (!this.hasRoom) return this.#holdCause
    try {
      this.release(await this.acquire())
      return undefined
    } catch (error) {
      return toError(error)
    }
  }

  /** Forgets that dials failed: the node is back. */
  allowDial(): void {
    this.#failures = 0
    clearTimeout(this.#redialTimer)
    this.#redialTimer = undefined
    this.#holdCause = undefined
  }

  status(): NodePoolStatus {
    const { available, size } = this.#pool
    const idle = available + this.#ready.length
    return Object.freeze({ total: size, idle, borrowed: this.#borrowed.size, connecting: this.#dials })
  }

  /** Says goodbye on idle connections and cuts borrowed ones with `error`. */
  close(error: Error): void {
    this.#closed.abort(error)
    clearTimeout(this.#redialTimer)
    for (const session of this.#slots.keys()) {
      if (this.#borrowed.has(session)) session.connection.cut(error)
      else session.connection.quit()
    }
  }

  async #create(): Promise<Slot> {
    if (this.#holdCause !== undefined) return this.#broken(this.#holdCause)
    const era = this.#era
    this.#dials += 1
    try {
      const session = new Session(await this.#dialWithin(era.signal), this.#lifetimeMs())
      this.#failures = 0
      session.connection.onLost = (error) => this.#lost(session, error)
      const slot = { session, error: undefined, isStale: false }
      this.#slots.set(session, slot)
      this.#parked.add(session)
      return slot
    } catch (error) {
      const failure = toError(error)
      if (!era.signal.aborted) {
        this.#holdDials(failure)
        this.#options.onFailure(failure)
      }
      return this.#broken(failure)
    } finally {
      this.#dials -= 1
      // Whoever asked for it may have been served otherwise.
      this.#options.onRoom()
    }
  }

  #broken(error: Error): Slot {
    const slot = { session: undefined, error, isStale: false }
    setImmediate(() => (slot.isStale = true))
    return slot
  }

  /** What is being opened is not wanted any more. */
  #newEra(error: Error): void {
    const { name } = this.#options
    this.#era.abort(error instanceof ConnectionLostError ? error : new ConnectionLostError(name, error.message))
    this.#era = new AbortController()
  }

  async #dialWithin(era: AbortSignal): Promise<DriverConnection> {
    const { name, connectTimeoutMs, dial } = this.#options
    const attempt = new AbortController()
    const limit = new TimeLimit(connectTimeoutMs, () =>
      attempt.abort(new TimeoutError('connect', connectTimeoutMs, name)),
    )
    try {
      const connection = await dial(AbortSignal.any([attempt.signal, era, this.#closed.signal]))
      if (!era.aborted && !this.#closed.signal.aborted) return connection
      connection.quit()
      throw abortReason(era.aborted ? era : this.#closed.signal)
    } finally {
      limit.clear()
    }
  }

  #lifetimeMs(): number {
    return this.#options.maxLifetimeMs * (1 - LIFETIME_VARIANCE * Math.random())
  }

  #usableParked(): number {
    let count = 0
    for (const session of this.#parked) if (session.isReusable) count += 1
    return count
  }

  #park(session: Session): void {
    this.#parked.add(session)
    void this.#pool.release(this.#slots.get(session) as Slot)
  }

  #end(session: Session): void {
    void this.#pool.destroy(this.#slots.get(session) as Slot)
  }

  /** Ends those in `#ready` that are not to be used any more. */
  #sortOut(): void {
    for (const session of this.#ready.splice(0)) {
      if (session.isReusable) this.#ready.push(session)
      else this.#end(session)
    }
  }

  #holdDials(error: Error): void {
    if (this.#closed.signal.aborted) return
    const isRefused = classify(error).node === 'misconfigured'
    const delayMs = isRefused ? REFUSED_REDIAL_MS : Math.min(REDIAL_MAX_MS, REDIAL_MIN_MS * 2 ** this.#failures)
    this.#failures += 1
    clearTimeout(this.#redialTimer)
    this.#holdCause = error
    this.#redialTimer = setTimeout(() => {
      this.#redialTimer = undefined
      this.#holdCause = undefined
      this.#options.onRoom()
    }, delayMs).unref()
  }

  async #destroy(slot: Slot): Promise<void> {
    if (slot.session !== undefined) {
      this.#slots.delete(slot.session)
      this.#parked.delete(slot.session)
      slot.session.connection.onLost = undefined
      slot.session.connection.quit()
    }
    return Promise.resolve()
  }

  /** Must resolve within its own limit: a validation that rejects or hangs costs generic-pool the slot for ever. */
  async #validate(slot: Slot): Promise<boolean> {
    const { session } = slot
    // generic-pool validates what was just created, too: a failed dial must reach the one who waits for it.
    if (session === undefined) return !slot.isStale
    if (!session.isReusable || session.isExpired) return false
    if (now() - session.idleSince < this.#options.validateAfterIdleMs) return true
    const { name, validateTimeoutMs } = this.#options
    const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, `ping of ${name} unanswered`)
    try {
      await waitWithin(session.connection.ping(), { timeoutMs: validateTimeoutMs }, late)
      return session.isReusable
    } catch (error) {
      session.connection.cut(toError(error))
      // A server that is silent is not dialled for each of its silent connections.
      if (error instanceof TimeoutError) this.#holdDials(error)
      this.#options.onFailure(toError(error))
      return false
    }
  }

  #lost(session: Session, error: Error): void {
    if (this.#borrowed.has(session)) return
    this.#sortOut()
    this.#options.onFailure(error)
  }
}
