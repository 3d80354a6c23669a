import type { LookupFunction } from 'node:net'
import { DialRace } from '../core/dial-race.js'
import type { Endpoint } from '../core/endpoint.js'
import { errorText, toError } from '../core/errors.js'
import { Resolver } from '../core/resolver.js'
import { waitWithin } from '../core/time-limit.js'
import { abortReason } from '../core/timing.js'

/** What {@link Addresses.dial} does with one address. @internal */
export interface AddressDial<C> {
  readonly open: (address: string, signal: AbortSignal) => Promise<C>
  readonly discard: (connection: C) => void
  readonly connectTimeoutMs: number
  readonly hedgeMs: number
}

/**
 * The addresses of one host, whose name may have several that change: looked up at each dial.
 *
 * Whole handshakes are raced and not only TCP connections: a frozen server behind the name accepts those. The address
 * that worked last is tried first, so that both connections stay together on one server. @internal
 */
export class Addresses {
  readonly #endpoint: Endpoint
  readonly #resolver: Resolver
  /** Lower is tried earlier; those without a rank have neither worked nor failed. */
  #ranks: ReadonlyMap<string, number> = new Map()
  #sequence = 0

  constructor(endpoint: Endpoint, lookup?: LookupFunction) {
    this.#endpoint = endpoint
    this.#resolver = new Resolver(endpoint.host, lookup)
  }

  /** The first connection that is complete; bounded by `signal`. */
  async dial<C>(how: AddressDial<C>, signal: AbortSignal): Promise<C> {
    const addresses = await waitWithin(this.#resolver.resolve(), { signal }, () => abortReason(signal))
    const tried: string[] = []
    const race = new DialRace<{ readonly endpoint: Endpoint }, C>(
      {
        ...how,
        dial: ({ endpoint: { host } }, ended) => {
          tried.push(host)
          return how.open(host, ended)
        },
        onAttemptFailed: () => undefined,
      },
      signal,
    )
    const { port } = this.#endpoint
    const winner = await race.run(this.#ordered(addresses).map((host) => ({ endpoint: { host, port } })))
    for (const address of tried) this.#rank(address, address === winner?.host.endpoint.host ? -1 : 1)
    if (signal.aborted) {
      if (winner !== undefined) how.discard(winner.connection)
      throw abortReason(signal)
    }
    if (winner === undefined) throw together(race.errors.map(({ cause }) => toError(cause)))
    return winner.connection
  }

  #ordered(addresses: readonly string[]): readonly string[] {
    this.#ranks = new Map([...this.#ranks].filter(([address]) => addresses.includes(address)))
    const rank = (address: string): number => this.#ranks.get(address) ?? 0
    return addresses.toSorted((a, b) => rank(a) - rank(b))
  }

  #rank(address: string, sign: 1 | -1): void {
    this.#sequence += 1
    this.#ranks = new Map([...this.#ranks, [address, sign * this.#sequence]])
  }
}

function together(errors: readonly Error[]): Error {
  if (errors.length === 1) return errors[0] as Error
  return new AggregateError(errors, errors.map((error) => errorText(error)).join('; '))
}
