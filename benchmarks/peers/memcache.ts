import type { CacheSubject } from '../../test/harness/index.js'
import { load } from './load.js'

interface Client {
  set(key: string, value: string): Promise<boolean>
  get(key: string): Promise<unknown>
  gets(keys: string[]): Promise<ReadonlyMap<string, unknown>>
  on(event: string, listener: () => void): void
  disconnect(): Promise<void>
}

interface MemcacheModule {
  Memcache: new (options: object) => Client
}

/** memcache (jaredwray): time-out 0.5 s. */
export class Memcache implements CacheSubject {
  readonly name: string = 'memcache'
  #client: Client | undefined

  async open(servers: readonly string[]): Promise<void> {
    const { Memcache: Client } = await load<MemcacheModule>(this.name, 'Memcache')
    this.#client = new Client({ nodes: [...servers], timeout: 500 })
    this.#client.on('error', () => undefined)
  }

  async set(key: string, value: string): Promise<void> {
    if ((await this.#client?.set(key, value)) !== true) throw new Error('not stored')
  }

  async get(key: string): Promise<string | undefined> {
    const value = await this.#client?.get(key)
    return typeof value === 'string' ? value : undefined
  }

  async getMany(keys: readonly string[]): Promise<number> {
    return (await this.#client?.gets([...keys]))?.size ?? 0
  }

  async close(): Promise<void> {
    await this.#client?.disconnect()
  }
}
