import { formatEndpoint, type Endpoint } from '../core/endpoint.js'
import { dialOrder } from '../core/reconnector.js'
import { Addresses } from './addresses.js'
import { isUnable, refusalIn } from './classify.js'
import type { AccessRefusedError } from './errors.js'
import type { TransportHost } from './transport-url.js'

/** One host of the list; the same object for as long as it is in the list. @internal */
export interface Host extends TransportHost {
  readonly endpoint: Endpoint
  /** `host:port`. */
  readonly name: string
  readonly addresses: Addresses
}

/** What is known of one host. */
export interface HostStatus {
  /** `host:port`. */
  readonly host: string
  /** `unknown` until it was tried. */
  readonly state: 'unknown' | 'up' | 'down'
  /** Connections to it that are open: one for publishing, one for consuming, or the one that stands by. */
  readonly connectionCount: number
  /** Attempts that failed since the last one that succeeded. */
  readonly failureCount: number
  /** Why the latest attempt failed or the latest connection ended; `undefined` when all is well. */
  readonly lastError: Error | undefined
}

interface Record {
  state: HostStatus['state']
  connectionCount: number
  failureCount: number
  lastError: Error | undefined
}

const freshRecord = (): Record => ({ state: 'unknown', connectionCount: 0, failureCount: 0, lastError: undefined })

/** Told when a host comes and goes. @internal */
export interface HostListener {
  readonly onUp: (host: Host) => void
  readonly onDown: (host: Host, cause: Error) => void
  /** A host refuses the login or the virtual host, which it did not before. */
  readonly onRefused: (refusal: AccessRefusedError) => void
}

/**
 * The host list with what both connections learned of it, and the order in which hosts are tried.
 *
 * There is one order, not one per connection: after a loss both walk it, and so meet on the same host again.
 * @internal
 */
export class HostBook {
  readonly #strategy: 'shuffle' | 'round-robin'
  readonly #listener: HostListener
  readonly #random: () => number
  /** By host, in the order of the list. */
  #records: ReadonlyMap<Host, Record> = new Map()
  #order: readonly Host[] = []

  constructor(
    hosts: readonly TransportHost[],
    strategy: 'shuffle' | 'round-robin',
    listener: HostListener,
    random: () => number = Math.random,
  ) {
    this.#strategy = strategy
    this.#listener = listener
    this.#random = random
    this.replace(hosts)
  }

  get hosts(): readonly Host[] {
    return [...this.#records.keys()]
  }

  has(host: Host): boolean {
    return this.#records.has(host)
  }

  /** Takes another list; a host that stays keeps its history. */
  replace(list: readonly TransportHost[]): void {
    const known = new Map([...this.#records].map((entry) => [entry[0].name, entry]))
    this.#records = new Map(
      list.map((host) => {
        const name = formatEndpoint(host.endpoint)
        return (
          known.get(name) ?? [Object.freeze({ ...host, name, addresses: new Addresses(host.endpoint) }), freshRecord()]
        )
      }),
    )
    this.#order = dialOrder(this.hosts, undefined, this.#strategy, this.#random)
  }

  /**
   * The order of one round for the connection that just lost `last`: where the other connection is, then hosts of which
   * nothing bad is known, then the rest, the lost one at the end, and one that said that it cannot serve now.
   */
  order(last: Host | undefined, sibling: Host | undefined): readonly Host[] {
    if (last !== undefined && last !== sibling && this.#order.at(-1) !== last) {
      this.#order = dialOrder(this.hosts, last, this.#strategy, this.#random)
    }
    const rank = (host: Host): number => {
      const { failureCount = 0, lastError, state } = this.#records.get(host) ?? {}
      if (isUnable(lastError)) return 3
      if (host === sibling) return 0
      return failureCount === 0 && state !== 'down' ? 1 : 2
    }
    const ranked = this.#order.map((host) => ({ host, rank: host === last && host !== sibling ? 3 : rank(host) }))
    return ranked.sort((a, b) => a.rank - b.rank).map(({ host }) => host)
  }

  connected(host: Host): void {
    const record = this.#records.get(host)
    if (record === undefined) return
    record.connectionCount += 1
    record.failureCount = 0
    record.lastError = undefined
    if (record.state === 'up') return
    record.state = 'up'
    this.#listener.onUp(host)
  }

  lost(host: Host, cause: Error): void {
    const record = this.#records.get(host)
    if (record === undefined) return
    record.connectionCount -= 1
    record.lastError = cause
    if (record.connectionCount === 0) this.#down(host, record, cause)
  }

  attemptFailed(host: Host, error: Error): void {
    const record = this.#records.get(host)
    if (record === undefined) return
    const refusal = refusalIn(error)
    const isNews = refusal !== undefined && refusalIn(record.lastError) === undefined
    record.failureCount += 1
    record.lastError = error
    if (record.connectionCount === 0) this.#down(host, record, error)
    if (isNews) this.#listener.onRefused(refusal)
  }

  /** The last error of each host that has one. */
  errors(): readonly Error[] {
    return [...this.#records.values()].flatMap(({ lastError }) => (lastError === undefined ? [] : [lastError]))
  }

  status(): readonly HostStatus[] {
    return Object.freeze([...this.#records].map(([host, record]) => Object.freeze({ host: host.name, ...record })))
  }

  #down(host: Host, record: Record, cause: Error): void {
    if (record.state === 'down') return
    record.state = 'down'
    this.#listener.onDown(host, cause)
  }
}
