import { isIP } from 'node:net'
import { backoffDelay } from '../core/backoff.js'
import { ClosedError, ConnectionLostError, NoEndpointError, TimeoutError, toError } from '../core/errors.js'
import { Reconnector } from '../core/reconnector.js'
import { waitWithin } from '../core/time-limit.js'
import { onAbort, sleep } from '../core/timing.js'
import type { TlsOptions } from '../core/tls.js'
import { explainHandshake, refusalIn } from './classify.js'
import { askCredentials, type Credentials } from './credentials.js'
import { openConnection } from './driver.js'
import type { AccessRefusedError } from './errors.js'
import type { Host, HostBook } from './hosts.js'
import type { ResolvedTransportOptions } from './options.js'
import { Session } from './session.js'
import { Waiters } from './waiters.js'

/**
 * What a connection is for. Publishing and consuming never share one: a blocked publisher would block consumers. The one
 * that stands by, on another host, becomes the publisher when that is lost.
 */
export type ConnectionRole = 'publisher' | 'consumer' | 'standby'

/** State of one connection. */
export interface ConnectionStatus {
  readonly role: ConnectionRole
  readonly state: 'connecting' | 'connected' | 'closed'
  /** `host:port` it is connected to. */
  readonly host: string | undefined
  /** Wall-clock time of the last change of state, milliseconds since 1970. */
  readonly since: number
  /** True while the broker takes no messages on it, for want of memory or disk. */
  readonly isBlocked: boolean
}

/** Told of a connection's fortunes. @internal */
export interface ConnectionListener {
  readonly onUp: (session: Session) => void
  readonly onDown: (session: Session, cause: Error) => void
  /** Every host refused the login or the virtual host; attempts go on, slowly. */
  readonly onRefused: (error: AccessRefusedError) => void
  /** `maxRetries` rounds failed; there will be no further attempt. */
  readonly onGivenUp: (error: Error) => void
}

/** How a connection goes with the others. @internal */
export interface ConnectionPlan {
  /** The host of the other connection, where this one goes first. */
  readonly sibling?: () => Host | undefined
  /** The host where this connection must not be. */
  readonly avoid?: () => Host | undefined
  /** False while this connection is not to be made. */
  readonly isWanted?: () => boolean
  /** A connection to go on with after a loss, instead of making one. */
  readonly takeOver?: () => Session | undefined
}

/** A silent host is raced by the next one after this. @internal */
export const HEDGE_MS = 300
/** A connection that lived shorter than this is no sign that its host works. */
const FLAP_MS = 1000
/** Pauses grow up to this while every host refuses us: somebody may create the user or the virtual host. */
const REFUSED_MAX_MS = 60_000

/** One connection that is made again whenever it is lost, until `close()`. @internal */
export class Connection {
  readonly role: ConnectionRole
  readonly #options: ResolvedTransportOptions
  readonly #hosts: HostBook
  readonly #listener: ConnectionListener
  readonly #reconnector: Reconnector<Host, Session>
  readonly #sessions = new Waiters<Session>()
  readonly #stop = new AbortController()
  readonly #plan: ConnectionPlan
  readonly #maxRetries: number
  #refusedRounds = 0
  /** True while the last connection was a short one: its host is left, although the other connection may be there. */
  #isFlapping = false
  #session: Session | undefined
  #left: Host | undefined
  #since = Date.now()
  #handOver: (() => void) | undefined
  /** While every host refuses us. */
  #rest: AbortController | undefined

  constructor(
    role: ConnectionRole,
    options: ResolvedTransportOptions,
    hosts: HostBook,
    listener: ConnectionListener,
    plan: ConnectionPlan,
  ) {
    this.role = role
    this.#plan = plan
    // Nothing depends on the one that stands by, and so nothing ends with it.
    this.#maxRetries = role === 'standby' ? Infinity : options.maxRetries
    this.#options = options
    this.#hosts = hosts
    this.#listener = listener
    this.#reconnector = new Reconnector<Host, Session>({
      dial: (host, signal) => this.#dial(host, signal),
      discard,
      order: (last) => {
        if (plan.isWanted?.() === false) return []
        const other = plan.sibling?.()
        const avoided = plan.avoid?.()
        const order = hosts.order(last, this.#isFlapping || other === this.#left ? undefined : other)
        return avoided === undefined ? order : order.filter((host) => host !== avoided)
      },
      connectTimeoutMs: options.connectTimeoutMs,
      hedgeMs: HEDGE_MS,
      splayMs: options.reconnectSplayMs,
      roundDelay: (round, errors) => this.#roundDelay(round, errors),
      maxRounds: this.#maxRetries + 1,
      isFatal: (error) => refusalIn(error) !== undefined,
      onAttemptFailed: (host, error) => {
        if (!this.#stop.signal.aborted) hosts.attemptFailed(host, error)
      },
    })
  }

  /** The connection in use, if there is one. */
  get session(): Session | undefined {
    return this.#session
  }

  /** The connection in use, as soon as there is one. */
  next(signal: AbortSignal): Promise<Session> {
    return this.#sessions.next(signal)
  }

  /** Opens a connection for the caller alone to a host other than that of `session`; `undefined` when none answers. */
  async openBeside(session: Session, signal: AbortSignal): Promise<Session | undefined> {
    const others = this.#hosts.order(undefined, undefined).filter((host) => host !== session.host)
    for (const host of others) {
      const dial = new AbortController()
      const late = (elapsedMs: number): Error => new TimeoutError('connect', elapsedMs, host.name)
      const limit = { timeoutMs: this.#options.connectTimeoutMs, signal }
      const opened = waitWithin(this.#dial(host, dial.signal), limit, late, (reason) => dial.abort(reason))
      const other = await opened.catch(() => undefined)
      if (other !== undefined || signal.aborted) return other
    }
    return undefined
  }

  start(): void {
    void this.#run()
  }

  /** Gives up a host that answers and does not do its work, and goes to another one, wherever the other connection is. */
  leave(session: Session, cause: Error): void {
    this.#left = session.host
    session.cut(new ConnectionLostError(session.host.name, cause.message, { cause }))
  }

  /** Gives the connection away, alive, and makes another one. */
  release(): Session | undefined {
    const session = this.#session
    if (session?.isOpen !== true) return undefined
    this.#session = undefined
    this.#sessions.clear()
    this.#since = Date.now()
    this.#handOver?.()
    return session
  }

  /** Opens a connection beside this one, for the caller alone, to the host that would be tried next. */
  async openSpare(signal: AbortSignal): Promise<Session> {
    const next = this.#hosts.order(undefined, undefined)[0]
    const host = this.#session?.host ?? next
    if (host === undefined) throw new NoEndpointError('no AMQP host', [])
    const dial = new AbortController()
    const late = (elapsedMs: number): Error => new TimeoutError('connect', elapsedMs, host.name)
    const limit = { timeoutMs: this.#options.connectTimeoutMs, signal }
    return waitWithin(this.#dial(host, dial.signal), limit, late, (reason) => dial.abort(reason))
  }

  /** Makes the next attempt now. */
  hurry(): void {
    this.#rest?.abort()
    this.#reconnector.hurry()
  }

  /** The host list has changed: leaves a host that is not in it, and looks at new ones at once. */
  reconsider(): void {
    const session = this.#session
    if (session !== undefined && !this.#hosts.has(session.host)) {
      session.cut(new ConnectionLostError(session.host.name, 'the host was removed from the list'))
    }
    this.#rest?.abort()
    this.#reconnector.renew()
  }

  /** Ends the connection and the attempts, at once. */
  close(reason: Error): void {
    this.#end(reason)
    this.#session?.cut(reason)
  }

  /** Ends the attempts, and the connection with the broker's consent. It may stay pending: the caller bounds it. */
  async finish(): Promise<void> {
    this.#end(new ClosedError('connection'))
    await this.#session?.close()
  }

  status(): ConnectionStatus {
    const state = this.#stop.signal.aborted ? 'closed' : this.#session === undefined ? 'connecting' : 'connected'
    return Object.freeze({
      role: this.role,
      state,
      host: this.#session?.host.name,
      since: this.#since,
      isBlocked: this.#session?.blockedReason !== undefined,
    })
  }

  #end(reason: Error): void {
    if (this.#stop.signal.aborted) return
    this.#stop.abort(reason)
    this.#rest?.abort()
    this.#reconnector.close(reason)
    this.#sessions.close(reason)
    this.#since = Date.now()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    const isStopped = (): boolean => signal.aborted
    while (!isStopped()) {
      try {
        const heir = this.#plan.takeOver?.()
        if (heir !== undefined) this.#reconnector.adopt({ host: heir.host, connection: heir })
        const session = heir ?? (await this.#reconnector.connect()).connection
        await this.#use(session, heir === undefined)
      } catch (error) {
        if (isStopped()) return
        const refusal = error instanceof NoEndpointError ? undefined : refusalIn(error)
        if (refusal === undefined || this.#refusedRounds >= this.#maxRetries) {
          this.#listener.onGivenUp(toError(error))
          return
        }
        this.#listener.onRefused(refusal)
        await this.#restFor(this.#roundDelay(1, [refusal]))
      }
    }
  }

  async #restFor(ms: number): Promise<void> {
    this.#rest = new AbortController()
    await sleep(ms, this.#rest.signal).catch(() => undefined)
    this.#rest = undefined
  }

  /** Longer ones while every host refuses us. */
  #roundDelay(round: number, errors: readonly Error[]): number {
    const { retryIntervalMs, retryBackoffMs, retryIntervalMaxMs } = this.#options
    if (errors.length > 0 && errors.every((error) => refusalIn(error) !== undefined)) {
      this.#refusedRounds += 1
      const maxMs = Math.max(REFUSED_MAX_MS, retryIntervalMaxMs)
      return backoffDelay(this.#refusedRounds, { initialMs: retryIntervalMaxMs, factor: 2, maxMs })
    }
    return backoffDelay(round, { initialMs: retryIntervalMs, addMs: retryBackoffMs, maxMs: retryIntervalMaxMs })
  }

  async #use(session: Session, isNew: boolean): Promise<void> {
    if (this.#stop.signal.aborted) {
      session.cut(toError(this.#stop.signal.reason))
      return
    }
    if (!this.#hosts.has(session.host)) {
      discard(session)
      return
    }
    this.#refusedRounds = 0
    this.#session = session
    this.#since = Date.now()
    if (isNew) this.#hosts.connected(session.host)
    await new Promise<void>((resolve) => {
      this.#handOver = resolve
      session.ending.on((cause) => {
        if (this.#session !== session) return
        this.#lose(session, cause)
        resolve()
      })
      if (!session.isOpen) return
      this.#sessions.resolve(session)
      this.#listener.onUp(session)
    })
  }

  #lose(session: Session, cause: Error): void {
    if (this.#left !== session.host) this.#left = undefined
    this.#session = undefined
    this.#isFlapping = Date.now() - session.since < FLAP_MS
    this.#sessions.clear()
    this.#since = Date.now()
    if (this.#stop.signal.aborted) return
    this.#listener.onDown(session, cause)
    this.#hosts.lost(session.host, cause)
  }

  async #dial(host: Host, signal: AbortSignal): Promise<Session> {
    const { credentials, connectTimeoutMs } = this.#options
    const login = credentials === undefined ? host : await askCredentials(credentials, host.name, signal)
    const open = (address: string, ended: AbortSignal): Promise<Session> => this.#open(host, address, login, ended)
    return host.addresses.dial({ open, discard, connectTimeoutMs, hedgeMs: HEDGE_MS }, signal)
  }

  async #open(host: Host, address: string, login: Credentials, signal: AbortSignal): Promise<Session> {
    const { vhost, heartbeatMs, localAddress, connectionName, connectTimeoutMs } = this.#options
    const { username, password } = login
    const driver = await openConnection(
      {
        ...{ address, username, password, vhost, heartbeatMs, localAddress },
        port: host.endpoint.port,
        connectionName: `${connectionName}:${this.role}`,
        tls: this.#tlsFor(host),
      },
      signal,
    ).catch((error: unknown) => {
      throw explainHandshake(toError(error), { host: host.name, vhost, username })
    })
    const session = new Session(host, driver, connectTimeoutMs)
    const giveUp = (): void => session.cut(new ConnectionLostError(host.name, 'given up'))
    const forget = onAbort(signal, giveUp)
    if (signal.aborted) giveUp()
    try {
      await session.openControl()
    } catch (error) {
      session.cut(toError(error))
      throw error
    } finally {
      forget()
    }
    return session
  }

  /** The name in the certificate is the host's, whatever the address is. */
  #tlsFor({ endpoint }: Host): TlsOptions | undefined {
    const { tls } = this.#options
    return tls === undefined || isIP(endpoint.host) !== 0 ? tls : { servername: endpoint.host, ...tls }
  }
}

function discard(session: Session): void {
  session.cut(new ConnectionLostError(session.host.name, 'another host was faster'))
}
