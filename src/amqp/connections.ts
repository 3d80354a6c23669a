import { ConnectionLostError } from '../core/errors.js'
import { Connection, type ConnectionRole } from './connection.js'
import type { HostBook } from './hosts.js'
import type { ResolvedTransportOptions } from './options.js'
import type { Session } from './session.js'
import type { TransportStatus } from './status.js'

/** Told of the fortunes of a transport's connections. @internal */
export interface ConnectionsListener {
  readonly onUp: (role: ConnectionRole, session: Session) => void
  readonly onDown: (role: ConnectionRole, session: Session, cause: Error) => void
  /** Every host refused the login or the virtual host. */
  readonly onRefused: (role: ConnectionRole, error: Error) => void
  /** The attempts that `maxRetries` allows have failed. */
  readonly onGivenUp: (error: Error) => void
}

/**
 * The connections of a transport: one that publishes, one that consumes, on the same host where possible, and one that
 * stands by on another host and becomes the publishing one when that is lost.
 * @internal
 */
export class Connections {
  readonly publisher: Connection
  readonly consumer: Connection
  readonly standby: Connection
  readonly #isStandbyWanted: boolean
  readonly #hosts: HostBook
  readonly #listener: ConnectionsListener
  #isStandbyStarted = false

  constructor(options: ResolvedTransportOptions, hosts: HostBook, listener: ConnectionsListener) {
    this.#isStandbyWanted = options.standby
    this.#hosts = hosts
    this.#listener = listener
    const listen = (role: ConnectionRole) => ({
      onUp: (session: Session) => this.#onUp(role, session),
      onDown: (session: Session, cause: Error) => listener.onDown(role, session, cause),
      onRefused: (error: Error) => listener.onRefused(role, error),
      onGivenUp: listener.onGivenUp,
    })
    this.publisher = new Connection('publisher', options, hosts, listen('publisher'), {
      sibling: () => this.consumer.session?.host,
      takeOver: () => this.standby.release(),
    })
    this.consumer = new Connection('consumer', options, hosts, listen('consumer'), {
      sibling: () => this.publisher.session?.host,
    })
    this.standby = new Connection('standby', options, hosts, listen('standby'), {
      avoid: () => this.publisher.session?.host,
      // While there is none that publishes, one more that dials helps nobody.
      isWanted: () => this.publisher.session !== undefined,
    })
  }

  /** True if a connection stands by, or will when there is one that publishes. */
  get hasStandby(): boolean {
    return this.#isStandbyWanted && this.#hosts.hosts.length > 1
  }

  start(): void {
    this.publisher.start()
    this.consumer.start()
  }

  /** The host list has changed. */
  reconsider(): void {
    for (const connection of this.#all()) connection.reconsider()
    this.#startStandby()
  }

  status(): TransportStatus['connections'] {
    return Object.freeze({
      publisher: this.publisher.status(),
      consumer: this.consumer.status(),
      standby: this.#isStandbyStarted ? this.standby.status() : undefined,
    })
  }

  /** Ends the attempts, and the connections with the broker's consent. It may stay pending: the caller bounds it. */
  async finish(): Promise<void> {
    await Promise.all(this.#all().map((connection) => connection.finish()))
  }

  /** Ends everything at once. */
  close(reason: Error): void {
    for (const connection of this.#all()) connection.close(reason)
  }

  #all(): readonly Connection[] {
    return [this.publisher, this.consumer, this.standby]
  }

  #onUp(role: ConnectionRole, session: Session): void {
    // Where the publishing one is it would be lost with it.
    if (role === 'standby' && session.host === this.publisher.session?.host) this.#refuse(session)
    else this.#listener.onUp(role, session)
    if (role === 'publisher') this.#attendStandby(session)
    // A host works again: nobody has to wait for the end of a pause.
    for (const other of this.#all()) if (other.session === undefined) other.hurry()
  }

  #attendStandby(publisher: Session): void {
    this.#startStandby()
    const { session } = this.standby
    if (session === undefined) this.standby.hurry()
    else if (session.host === publisher.host) this.#refuse(session)
  }

  #refuse(session: Session): void {
    session.cut(new ConnectionLostError(session.host.name, 'the publishing connection is on this host'))
  }

  /** As soon as there is another host to stand by on than the one that publishes. */
  #startStandby(): void {
    if (this.#isStandbyStarted || !this.hasStandby || this.publisher.session === undefined) return
    this.#isStandbyStarted = true
    this.standby.start()
  }
}
