import { createClient, type MemcachedClient, type MemcachedOptions } from '../../../src/memcached/index.js'
import type { Outcome } from '../operation.js'
import type { CacheSubject, ReportedFailover } from '../subject.js'
import { outcomeOf } from './outcome.js'

/** The cache client of this package. */
export class OurMemcached implements CacheSubject {
  readonly name: string = 'openstack-ha'
  readonly localAddress: string
  readonly #options: MemcachedOptions
  #client: MemcachedClient | undefined

  constructor(localAddress: string, options: MemcachedOptions = {}) {
    this.localAddress = localAddress
    this.#options = options
  }

  get client(): MemcachedClient {
    if (this.#client === undefined) throw new Error('not open yet')
    return this.#client
  }

  async open(servers: readonly string[]): Promise<void> {
    this.#client = createClient({ servers, localAddress: this.localAddress, env: {}, ...this.#options })
    await this.#client.ready()
  }

  set(key: string, value: string): Promise<void> {
    return this.client.set(key, value)
  }

  get(key: string): Promise<string | undefined> {
    return this.client.get<string>(key)
  }

  async getMany(keys: readonly string[]): Promise<number> {
    return (await this.client.getMany(keys)).size
  }

  async close(): Promise<void> {
    await this.#client?.close({ timeoutMs: 2000 })
  }

  failovers(): readonly ReportedFailover[] {
    return this.client.status().availability.failovers
  }

  outcomeOf(error: unknown): Outcome {
    return outcomeOf(error)
  }

  notes(): Readonly<Record<string, number>> {
    const { evictionCount, staleRefusedCount } = this.client.status()
    return { evictions: evictionCount, staleRefused: staleRefusedCount }
  }

  report(): unknown {
    return this.client.status()
  }
}
