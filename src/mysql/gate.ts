import { toError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import { abortReason, now, onAbort } from '../core/timing.js'
import { QueueFullError } from './errors.js'
import type { Lease } from './lease.js'
import type { Node } from './node.js'
import { WaitLimit } from './wait-limit.js'

/** What a connection is wanted for. @internal */
export type Role = 'write' | 'read'

/** @internal */
export interface GateOptions {
  readonly queueLimit: number
  /** The node to use now, if one has room. */
  readonly pick: (role: Role) => Node | undefined
  /** False when `node` must not be used for the role any more. */
  readonly mayUse: (role: Role, node: Node) => boolean
  /** Checks a connection out that is ready for use, if a node has one. */
  readonly checkOutReady: (role: Role) => Lease | undefined
  /** Checks a connection of `node` out. */
  readonly checkOut: (role: Role, node: Node) => Promise<Lease>
  /** How long a caller may wait in all. */
  readonly acquireTimeoutMs: number
  /** How long it may wait while there is no node for it. */
  readonly failoverTimeoutMs: number
  /** True while there is no node for the role. */
  readonly isHeld: (role: Role) => boolean
  /** Told whenever a caller stops waiting, with or without a connection. */
  readonly onSettled: () => void
  /** Why a caller that waited so long got nothing. */
  readonly onExpired: (role: Role, waitedMs: number, lastError: Error | undefined) => Error
}

interface Waiter {
  readonly role: Role
  readonly startedAt: number
  readonly settle: (result: Lease | Error) => void
  readonly limit: WaitLimit
  isSettled: boolean
  lastError: Error | undefined
}

/**
 * Where callers wait for a connection, in the order they came.
 *
 * They wait here and not in a node's pool, so that they move to another node when theirs dies. The queue is bounded, and
 * every wait has a limit. @internal
 */
export class Gate {
  readonly #options: GateOptions
  readonly #queues: Readonly<Record<Role, Waiter[]>> = { write: [], read: [] }
  #acquiring = 0
  #closed: Error | undefined

  constructor(options: GateOptions) {
    this.#options = options
  }

  /** Callers in the queue. */
  get waiting(): number {
    return this.#queues.write.length + this.#queues.read.length
  }

  /** True while anybody waits, in the queue or for a connection that is being made ready. */
  get isBusy(): boolean {
    return this.#acquiring > 0
  }

  /** A connection, at once when one is ready and nobody waits, whatever the limits. */
  acquire(role: Role, limits: WaitOptions = {}): Lease | Promise<Lease> {
    const isNext = this.#closed === undefined && this.#queues[role].length === 0
    return (isNext ? this.#options.checkOutReady(role) : undefined) ?? this.#acquire(role, limits)
  }

  async #acquire(role: Role, limits: WaitOptions): Promise<Lease> {
    if (limits.signal?.aborted === true) throw abortReason(limits.signal)
    this.#acquiring += 1
    try {
      return await this.#wait(role, limits)
    } finally {
      this.#acquiring -= 1
      this.#options.onSettled()
    }
  }

  /** Serves whoever can be served; called whenever a connection came back or a node changed. */
  pump(): void {
    while (this.#oldestFirst().some((queue) => this.#serveNext(queue))) {
      // Each turn serves one, so that neither role can starve the other on a node that serves both.
    }
  }

  /** Those who wait do so for `failoverTimeoutMs` from now at most, unless there is a node for them again by then. */
  hold(role: Role): void {
    for (const { limit } of this.#queues[role]) limit.hold()
  }

  /** Rejects everyone who waits now. */
  rejectAll(error: Error): void {
    for (const queue of Object.values(this.#queues)) {
      for (const waiter of queue.splice(0)) waiter.settle(error)
    }
  }

  /** Rejects everyone who waits, now and later. */
  close(error: Error): void {
    this.#closed = error
    this.rejectAll(error)
  }

  async #wait(role: Role, limits: WaitOptions): Promise<Lease> {
    if (this.#closed !== undefined) throw this.#closed
    const queue = this.#queues[role]
    if (queue.length >= this.#options.queueLimit) throw new QueueFullError(queue.length)
    return new Promise<Lease>((resolve, reject) => {
      const settle = (result: Lease | Error): void => {
        if (waiter.isSettled) return
        waiter.isSettled = true
        limit.clear()
        forget()
        if (result instanceof Error) reject(result)
        else resolve(result)
      }
      const { acquireTimeoutMs, failoverTimeoutMs, isHeld, onExpired } = this.#options
      const limit = new WaitLimit({
        totalMs: Math.min(limits.timeoutMs ?? Infinity, acquireTimeoutMs),
        heldMs: failoverTimeoutMs,
        isHeld: () => isHeld(role),
        onExpired: () => leave(onExpired(role, now() - waiter.startedAt, waiter.lastError)),
      })
      const waiter: Waiter = { role, startedAt: now(), settle, limit, isSettled: false, lastError: undefined }
      const leave = (error: Error): void => {
        const at = queue.indexOf(waiter)
        if (at >= 0) queue.splice(at, 1)
        settle(error)
      }
      const forget = onAbort(limits.signal, () => leave(abortReason(limits.signal as AbortSignal)))
      queue.push(waiter)
      this.pump()
    })
  }

  #oldestFirst(): Waiter[][] {
    const { write, read } = this.#queues
    const [firstWrite, firstRead] = [write[0], read[0]]
    if (firstWrite === undefined) return firstRead === undefined ? [] : [read]
    if (firstRead === undefined) return [write]
    return firstRead.startedAt < firstWrite.startedAt ? [read, write] : [write, read]
  }

  #serveNext(queue: Waiter[]): boolean {
    const [waiter] = queue
    const node = waiter === undefined ? undefined : this.#options.pick(waiter.role)
    if (waiter === undefined || node === undefined) return false
    queue.shift()
    void this.#serve(waiter, node)
    return true
  }

  async #serve(waiter: Waiter, node: Node): Promise<void> {
    const lease = await this.#tryCheckOut(waiter.role, node)
    if (lease instanceof Error) {
      waiter.lastError = lease
      if (this.#closed !== undefined) waiter.settle(this.#closed)
      if (waiter.isSettled) return
      this.#queueAgain(waiter)
      this.pump()
      return
    }
    // Its caller left meanwhile: the connection goes to the next.
    if (waiter.isSettled) lease.release()
    else waiter.settle(lease)
  }

  /** Where it was in the order they came: others may have come back before it. */
  #queueAgain(waiter: Waiter): void {
    const queue = this.#queues[waiter.role]
    const at = queue.findIndex(({ startedAt }) => startedAt > waiter.startedAt)
    queue.splice(at < 0 ? queue.length : at, 0, waiter)
    if (this.#options.isHeld(waiter.role)) waiter.limit.hold()
  }

  async #tryCheckOut(role: Role, node: Node): Promise<Lease | Error> {
    try {
      const lease = await this.#options.checkOut(role, node)
      if (this.#options.mayUse(role, node)) return lease
      lease.release()
      return new Error(`${node.name} was left while a connection was opened`)
    } catch (error) {
      return toError(error)
    }
  }
}
