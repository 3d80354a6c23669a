import { randomUUID } from 'node:crypto'
import { cachedValue, writeNumber } from './cached-value.js'
import type { Operation } from './operation.js'
import { Random } from './random.js'
import type { CacheSubject } from './subject.js'

/** What a worker knows of one of its keys. */
interface OwnedKey {
  readonly key: string
  attempted: number
  /** Nothing older may be read any more. */
  floor: number
}

/** Workers that write numbered values to keys of their own and read them back: what is older than known is stale. */
export class CacheWorkers {
  readonly counts: { stale: number; wrong: number; hits: number; misses: number } = {
    stale: 0,
    wrong: 0,
    hits: 0,
    misses: 0,
  }
  readonly examples: string[] = []
  readonly #subject: CacheSubject
  readonly #keys: readonly (readonly OwnedKey[])[]
  readonly #random = new Random(1)
  /** Of each worker, what it did not find and will store anew. */
  readonly #missed: readonly Set<OwnedKey>[]

  /** Each key belongs to one worker. */
  constructor(subject: CacheSubject, workers: number, keys: number) {
    this.#subject = subject
    const run = randomUUID().slice(0, 8)
    this.#keys = Array.from({ length: workers }, (_, worker) =>
      Array.from({ length: Math.ceil(keys / workers) }, (_each, i) => {
        return { key: `${run}:${worker}:${i}`, attempted: 0, floor: 0 }
      }),
    )
    this.#missed = this.#keys.map(() => new Set())
  }

  get keys(): readonly string[] {
    return this.#keys.flat().map(({ key }) => key)
  }

  /** Share of the reads of stored keys that found what may be used, 0 to 1: a stale value is no hit. */
  get hitRate(): number {
    const { hits, misses, stale } = this.counts
    return hits / Math.max(1, hits + stale + misses)
  }

  /** Odd numbers write what was missed, as services do that use a cache, or else the next key in turn; even ones read any. */
  async operate({ worker, sequence }: Operation): Promise<void> {
    const keys = this.#keys[worker] ?? []
    const missed = this.#missed[worker] ?? new Set()
    if (sequence % 2 === 1) {
      const [first] = missed.size > 0 ? missed : []
      const owned = first ?? keys[((sequence - 1) / 2) % keys.length]
      if (owned === undefined) throw new Error(`worker ${worker} has no keys`)
      missed.delete(owned)
      owned.attempted += 1
      const number = owned.attempted
      await this.#subject.set(owned.key, cachedValue(owned.key, number))
      owned.floor = Math.max(owned.floor, number)
      return
    }
    const owned = this.#random.pick(keys)
    const floor = owned.floor
    const value = await this.#subject.get(owned.key)
    if (value !== undefined) this.#judge(owned, floor, value)
    else if (floor > 0) {
      this.counts.misses += 1
      missed.add(owned)
    }
  }

  #judge(owned: OwnedKey, floor: number, value: string): void {
    const number = writeNumber(owned.key, value)
    if (number === undefined || number > owned.attempted) {
      this.counts.wrong += 1
      this.#note(`wrong ${owned.key}: ${value.slice(0, 40)}`)
    } else if (number < floor) {
      this.counts.stale += 1
      this.#note(`stale ${owned.key}: ${number} < ${floor}`)
    } else {
      this.counts.hits += 1
      owned.floor = Math.max(owned.floor, number)
    }
  }

  #note(text: string): void {
    if (this.examples.length < 6) this.examples.push(text)
  }
}
