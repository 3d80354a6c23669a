import { backoffDelay } from '../core/backoff.js'
import { ClosedError, ConnectionLostError, NoEndpointError, TimeoutError, toError } from '../core/errors.js'
import { Reconnector } from '../core/reconnector.js'
import { waitWithin } from '../core/time-limit.js'
import { onAbort, sleep } from '../core/timing.js'
import { explainHandshake, isRefusal } from './classify.js'
import { openConnection } from './driver.js'
import type { Host, HostBook } from './hosts.js'
import type { ResolvedTransportOptions } from './options.js'
import { Session } from './session.js'

/** What a connection is for. Publishing and consuming never share one: a blocked publisher would block consumers. */
export type ConnectionRole = 'publisher' | 'consumer'

/** State of one of the two connections. */
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
  /** Every host refused the login or the virtual host; attempts go on at the longest pause. */
  readonly onRefused: (error: Error) => void
}

/** A silent host is raced by the next one after this. @internal */
export const HEDGE_MS = 300

/** One connection that is made again whenever it is lost, until `close()`. @internal */
export class Connection {
  readonly role: ConnectionRole
  readonly #options: ResolvedTransportOptions
  readonly #hosts: HostBook
  readonly #listener: ConnectionListener
  readonly #reconnector: Reconnector<Host, Session>
  readonly #stop = new AbortController()
  #session: Session | undefined
  #left: Host | undefined
  #since = Date.now()

  /** `sibling` is the host of the other connection, where this one goes first. */
  constructor(
    role: ConnectionRole,
    options: ResolvedTransportOptions,
    hosts: HostBook,
    listener: ConnectionListener,
    sibling: () => Host | undefined,
  ) {
    this.role = role
    this.#options = options
    this.#hosts = hosts
    this.#listener = listener
    this.#reconnector = new Reconnector<Host, Session>({
      dial: (host, signal) => this.#dial(host, signal),
      discard: (session) => session.cut(new ConnectionLostError(session.host.name, 'another host was faster')),
      order: (last) => {
        const other = sibling()
        return hosts.order(last, other === this.#left ? undefined : other)
      },
      connectTimeoutMs: options.connectTimeoutMs,
      hedgeMs: HEDGE_MS,
      splayMs: options.reconnectSplayMs,
      roundDelay: (round) =>
        backoffDelay(round, {
          initialMs: options.retryIntervalMs,
          addMs: options.retryBackoffMs,
          maxMs: options.retryIntervalMaxMs,
        }),
      isFatal: isRefusal,
      onAttemptFailed: (host, error) => {
        if (!this.#stop.signal.aborted) hosts.attemptFailed(host, error)
      },
    })
  }

  /** The connection in use, if there is one. */
  get session(): Session | undefined {
    return this.#session
  }

  start(): void {
    void this.#run()
  }

  /** Gives up a host that answers and does not do its work, and goes to another one, wherever the other connection is. */
  leave(session: Session, cause: Error): void {
    this.#left = session.host
    session.cut(new ConnectionLostError(session.host.name, cause.message, { cause }))
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
    this.#reconnector.close(reason)
    this.#since = Date.now()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    const isStopped = (): boolean => signal.aborted
    while (!isStopped()) {
      try {
        const { connection } = await this.#reconnector.connect()
        await this.#use(connection)
      } catch (error) {
        if (isStopped()) return
        this.#listener.onRefused(toError(error))
        // Somebody may create the user or the virtual host while we wait.
        await sleep(this.#options.retryIntervalMaxMs, signal).catch(() => undefined)
      }
    }
  }

  async #use(session: Session): Promise<void> {
    if (this.#stop.signal.aborted) {
      session.cut(toError(this.#stop.signal.reason))
      return
    }
    this.#session = session
    this.#since = Date.now()
    this.#hosts.connected(session.host)
    await new Promise<void>((resolve) => {
      session.ending.on((cause) => {
        this.#lose(session, cause)
        resolve()
      })
      if (session.isOpen) this.#listener.onUp(session)
    })
  }

  #lose(session: Session, cause: Error): void {
    if (this.#left !== session.host) this.#left = undefined
    this.#session = undefined
    this.#since = Date.now()
    if (this.#stop.signal.aborted) return
    this.#hosts.lost(session.host, cause)
    this.#listener.onDown(session, cause)
  }

  async #dial(host: Host, signal: AbortSignal): Promise<Session> {
    const { vhost, heartbeatMs, localAddress, connectionName, connectTimeoutMs } = this.#options
    const target = { host, vhost, heartbeatMs, localAddress, connectionName: `${connectionName}:${this.role}` }
    const driver = await openConnection(target, signal).catch((error: unknown) => {
      throw explainHandshake(toError(error), vhost)
    })
    const session = new Session(host, driver, connectTimeoutMs)
    const giveUp = (): void => session.cut(new ConnectionLostError(host.name, 'given up'))
    const forget = onAbort(signal, giveUp)
    if (signal.aborted) giveUp()
    try {
      await session.openControl()
    } finally {
      forget()
    }
    return session
  }
}
