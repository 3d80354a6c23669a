import type { CacheSubject } from '../../test/harness/index.js'
import { load } from './load.js'

type Callback = (error: unknown, value?: string | false) => void

interface Client {
  set(key: string, value: string, lifetime: number, callback: Callback): void
  get(key: string, callback: Callback): void
  getMulti(keys: readonly string[], callback: (error: unknown, values: Readonly<Record<string, string>>) => void): void
  end(): void
}

interface MemcachedModule {
  readonly default: new (servers: readonly string[], options: object) => Client
}

/** memcached (3rd-Eden): a dead server is removed at its first failure; time-out 0.5 s. */
export class Memcached implements CacheSubject {
  readonly name: string = 'memcached'
  #client: Client | undefined

  async open(servers: readonly string[]): Promise<void> {
    const { default: Client } = await load<MemcachedModule>(this.name, 'default')
    const options = { timeout: 500, retries: 1, retry: 1000, failures: 1, remove: true, reconnect: 1000, idle: 60_000 }
    this.#client = new Client([...servers], options)
  }

  set(key: string, value: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client?.set(key, value, 0, (error) => (error ? reject(toError(error)) : resolve()))
    })
  }

  get(key: string): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      this.#client?.get(key, (error, value) => {
        if (error) reject(toError(error))
        else resolve(value === false ? undefined : value)
      })
    })
  }

  getMany(keys: readonly string[]): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#client?.getMulti(keys, (error, values) => {
        if (error) reject(toError(error))
        else resolve(Object.keys(values).length)
      })
    })
  }

  close(): Promise<void> {
    this.#client?.end()
    return Promise.resolve()
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
