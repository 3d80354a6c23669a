import type { CacheSubject } from '../../test/harness/index.js'
import { load } from './load.js'

interface Client {
  set(key: string, value: string): Promise<unknown>
  get(key: string): Promise<{ readonly value: unknown } | undefined>
  get(keys: readonly string[]): Promise<Readonly<Record<string, unknown>>>
  shutdown(): void
}

/** memcache-client: takes a random server for each key, which it calls redundancy; time-out 0.5 s. */
export class MemcacheClient implements CacheSubject {
  readonly name: string = 'memcache-client'
  #client: Client | undefined

  async open(servers: readonly string[]): Promise<void> {
    const { MemcacheClient: Client } = await load<{ MemcacheClient: new (options: object) => Client }>(
      this.name,
      'MemcacheClient',
    )
    this.#client = new Client({
      server: {
        servers: servers.map((server) => ({ server, maxConnections: 1 })),
        config: { retryFailedServerInterval: 1000 },
      },
      cmdTimeout: 500,
      connectTimeout: 500,
    })
  }

  async set(key: string, value: string): Promise<void> {
    await this.#client?.set(key, value)
  }

  async get(key: string): Promise<string | undefined> {
    const found = await this.#client?.get(key)
    return typeof found?.value === 'string' ? found.value : undefined
  }

  async getMany(keys: readonly string[]): Promise<number> {
    return Object.keys((await this.#client?.get(keys)) ?? {}).length
  }

  close(): Promise<void> {
    this.#client?.shutdown()
    return Promise.resolve()
  }
}
