import { lookup as systemLookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { TimeoutError } from './errors.js'
import { waitWithin } from './time-limit.js'

/** A name server that is silent for so long is not waited for when addresses are known. */
const PATIENCE_MS = 300
/** Dials share one lookup for so long at most: one that never ends must not end all that come later. */
const SHARED_MS = 10_000

/**
 * The addresses of one host name, asked for again whenever somebody wants them.
 *
 * One question at a time: the system's resolver has few threads, and a dead name server would fill its queue without
 * bound. While the name server gives no answer, the addresses known last are used; that a name does not exist is an
 * answer, and never remembered. @internal
 */
export class Resolver {
  readonly #host: string
  readonly #lookup: LookupFunction
  #known: readonly string[] = []
  #running: Promise<readonly string[]> | undefined

  constructor(host: string, lookup: LookupFunction = systemLookup) {
    this.#host = host
    this.#lookup = lookup
  }

  /** At least one address, in the resolver's order. Rejects with the resolver's error. */
  async resolve(): Promise<readonly string[]> {
    if (isIP(this.#host) !== 0) return [this.#host]
    this.#running ??= this.#ask().finally(() => (this.#running = undefined))
    const known = this.#known
    if (known.length === 0) return this.#running
    try {
      return await waitWithin(this.#running, { timeoutMs: PATIENCE_MS }, (elapsedMs) => this.#late(elapsedMs))
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOTFOUND') throw error
      return known
    }
  }

  async #ask(): Promise<readonly string[]> {
    const answer = new Promise<readonly string[]>((resolve, reject) => {
      this.#lookup(this.#host, { all: true }, (error, found) => {
        if (error !== null) reject(error)
        else resolve(addressesOf(found))
      })
    })
    const addresses = await waitWithin(answer, { timeoutMs: SHARED_MS }, (elapsedMs) => this.#late(elapsedMs))
    if (addresses.length === 0) {
      throw Object.assign(new Error(`lookup of ${this.#host} found no address`), { code: 'ENOTFOUND' })
    }
    this.#known = addresses
    return addresses
  }

  #late(elapsedMs: number): Error {
    return new TimeoutError('connect', elapsedMs, `lookup of ${this.#host} unanswered`)
  }
}

/** A lookup function may answer with one address although it was asked for all. */
function addressesOf(found: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(found) ? found : [found]
  const addresses = list.map((entry) => (typeof entry === 'string' ? entry : (entry as { address: string }).address))
  return [...new Set(addresses.filter((address) => isIP(address) !== 0))]
}
