import type { MemcachedClient } from '../../../src/memcached/index.js'

/** What the workers saw. */
export interface Seen {
  readonly operationCount: number
  readonly hitCount: number
  /** Reads that were older than what the same worker had been told is stored, or deleted. */
  readonly stale: readonly string[]
  readonly errors: readonly Error[]
  /** The longest operation, in milliseconds. */
  readonly longestMs: number
}

interface Owned {
  readonly key: string
  /** Version that was sent last; each write has a higher one. */
  sent: number
  /** The oldest version that a read may find: the last one that was acknowledged. */
  oldest: number
}

/**
 * Workers that read, write and delete keys of which each belongs to one worker alone, so that each knows what it may
 * find: what it was told is stored, or something that it sent after that, or nothing.
 */
export class Traffic {
  readonly #client: MemcachedClient
  readonly #workers: readonly Promise<void>[]
  readonly #stale: string[] = []
  readonly #errors: Error[] = []
  #operationCount = 0
  #hitCount = 0
  #longestMs = 0
  #isStopping = false

  constructor(client: MemcachedClient, prefix: string, workerCount = 16, keysPerWorker = 40) {
    this.#client = client
    this.#workers = Array.from({ length: workerCount }, (_, worker) => {
      const keys = Array.from({ length: keysPerWorker }, (_, i) => `${prefix}:${worker}:${i}`)
      return this.#work(keys.map((key) => ({ key, sent: 0, oldest: 0 })))
    })
  }

  seen(): Seen {
    return {
      operationCount: this.#operationCount,
      hitCount: this.#hitCount,
      stale: [...this.#stale],
      errors: [...this.#errors],
      longestMs: this.#longestMs,
    }
  }

  /** Resolves when `count` more operations have ended. */
  async more(count: number): Promise<void> {
    const goal = this.#operationCount + count
    while (this.#operationCount < goal) await new Promise((resolve) => setImmediate(resolve))
  }

  /** Lets every worker end what it does; rejects when one does not. */
  async stop(): Promise<Seen> {
    this.#isStopping = true
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('an operation never settled')), 10_000)
    })
    await Promise.race([Promise.all(this.#workers), late])
    clearTimeout(timer)
    return this.seen()
  }

  async #work(keys: readonly Owned[]): Promise<void> {
    while (!this.#isStopping) {
      const owned = keys[Math.floor(Math.random() * keys.length)] as Owned
      const dice = Math.random()
      const startedAt = performance.now()
      try {
        if (dice < 0.6) await this.#read(owned)
        else if (dice < 0.9) await this.#write(owned)
        else await this.#delete(owned)
      } catch (error) {
        this.#errors.push(error as Error)
        // Refusals come at once; without a pause the workers would do nothing else.
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      this.#longestMs = Math.max(this.#longestMs, performance.now() - startedAt)
      this.#operationCount += 1
    }
  }

  async #read({ key, oldest }: Owned): Promise<void> {
    const found = await this.#client.get<number>(key)
    if (found === undefined) return
    this.#hitCount += 1
    if (found < oldest) this.#stale.push(`${key}: ${found} after ${oldest}`)
  }

  async #write(owned: Owned): Promise<void> {
    const version = (owned.sent += 1)
    await this.#client.set(owned.key, version)
    owned.oldest = version
  }

  async #delete(owned: Owned): Promise<void> {
    // A version that no value has: whatever was written before is older than the deletion.
    const version = (owned.sent += 1)
    await this.#client.delete(owned.key)
    owned.oldest = version
  }
}
