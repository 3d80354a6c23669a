import memjs from 'memjs'
import type { CacheSubject } from '../../test/harness/index.js'

/** memjs with failover, as its documentation shows it; time-out 0.5 s. */
export class Memjs implements CacheSubject {
  readonly name: string = 'memjs'
  #client: memjs.Client | undefined

  open(servers: readonly string[]): Promise<void> {
    const options = { failover: true, failoverTime: 2, retries: 1, timeout: 0.5, logger: { log: () => undefined } }
    this.#client = memjs.Client.create(servers.join(','), options)
    return Promise.resolve()
  }

  async set(key: string, value: string): Promise<void> {
    await this.#client?.set(key, value, {})
  }

  async get(key: string): Promise<string | undefined> {
    const found = await this.#client?.get(key)
    return found?.value?.toString()
  }

  close(): Promise<void> {
    this.#client?.close()
    return Promise.resolve()
  }
}
