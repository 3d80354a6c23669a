import type { LookupFunction } from 'node:net'
import { connectFirst, type Connected } from './connect-first.js'
import type { Endpoint } from './endpoint.js'
import { Resolver } from './resolver.js'
import { waitWithin } from './time-limit.js'
import { abortReason } from './timing.js'

/** A TCP connection, and all addresses that the host's name had when it was opened. @internal */
export interface Dialled extends Connected {
  readonly addresses: readonly string[]
}

/**
 * Opens TCP connections to one host, whose name may have several addresses that change.
 *
 * The name is looked up at each dial. The address that worked last is tried first, so that connections stay together on
 * one server; those that failed last come last, so that a server that accepts and then says nothing is passed over.
 * @internal
 */
export class Dialler {
  readonly #port: number
  readonly #localAddress: string | undefined
  readonly #resolver: Resolver
  /** Lower is tried earlier; those without a rank have neither worked nor failed. */
  #ranks: ReadonlyMap<string, number> = new Map()
  #sequence = 0

  constructor(endpoint: Endpoint, localAddress: string | undefined, lookup: LookupFunction | undefined) {
    this.#port = endpoint.port
    this.#localAddress = localAddress
    this.#resolver = new Resolver(endpoint.host, lookup)
  }

  /** Bounded by `signal`; the caller says by {@link Dialler.worked} or {@link Dialler.failed} what came of it. */
  async dial(signal: AbortSignal): Promise<Dialled> {
    const addresses = await waitWithin(this.#resolver.resolve(), { signal }, () => abortReason(signal))
    const rank = (address: string): number => this.#ranks.get(address) ?? 0
    const options = {
      addresses: addresses.toSorted((a, b) => rank(a) - rank(b)),
      port: this.#port,
      localAddress: this.#localAddress,
      onFailed: (address: string) => this.failed(address),
    }
    this.#ranks = new Map([...this.#ranks].filter(([address]) => addresses.includes(address)))
    return { ...(await connectFirst(options, signal)), addresses }
  }

  /** The server at the address answered. */
  worked(address: string): void {
    this.#rank(address, -1)
  }

  /** The address accepted the connection and then gave no usable server. */
  failed(address: string): void {
    this.#rank(address, 1)
  }

  #rank(address: string, sign: 1 | -1): void {
    this.#sequence += 1
    this.#ranks = new Map([...this.#ranks, [address, sign * this.#sequence]])
  }
}
