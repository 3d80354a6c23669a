import { randomUUID } from 'node:crypto'
import { nodes } from '../cluster/index.js'
import { cachedValue, writeNumber } from './cached-value.js'
import { closeAll } from './closing.js'
import { hostList, nextNode } from './in-use.js'
import { RawMemcached } from './memcached-admin.js'
import type { Operation } from './operation.js'
import { Random } from './random.js'
import type { Findings, Oracle, Scene } from './scene.js'
import type { CacheSubject } from './subject.js'
import type { Load } from './workload.js'

const ORACLE_PAUSE_MS = 1
/** Every node is in use; one in the middle shows what becomes of neighbours on both sides. */
const DEFAULT_TARGET = 2

/** How a client of the cache is put to the test. */
export interface MemcachedSceneOptions {
  /** @default 16 */
  readonly workers?: number
  /** Of all workers together; each key belongs to one worker. @default 2000 */
  readonly keys?: number
  readonly allowanceMs?: number
}

/** What a worker knows of one of its keys. */
interface OwnedKey {
  readonly key: string
  attempted: number
  /** Nothing older may be read any more. */
  floor: number
}

/** Workers that write numbered values to keys of their own and read them back: what is older than known is stale. */
export class MemcachedScene implements Scene {
  readonly kind = 'memcached'
  readonly subject: CacheSubject
  readonly main: Load
  readonly sides: Scene['sides'] = []
  readonly series: Scene['series'] = {}
  readonly #keys: readonly (readonly OwnedKey[])[]
  readonly #random = new Random(1)
  readonly #counts = { stale: 0, wrong: 0, hits: 0, misses: 0, moved: 0, share: 0, inherited: 0 }
  readonly #examples: string[] = []
  #ownersBefore: ReadonlyMap<string, number> = new Map()

  constructor(subject: CacheSubject, options: MemcachedSceneOptions = {}) {
    const { workers = 16, keys = 2000 } = options
    this.subject = subject
    const run = randomUUID().slice(0, 8)
    this.#keys = Array.from({ length: workers }, (_, worker) =>
      Array.from({ length: Math.ceil(keys / workers) }, (_each, i) => {
        return { key: `${run}:${worker}:${i}`, attempted: 0, floor: 0 }
      }),
    )
    this.main = {
      workers,
      operate: (operation) => this.#operate(operation),
      ...(options.allowanceMs === undefined ? {} : { allowanceMs: options.allowanceMs }),
    }
  }

  async open(): Promise<void> {
    await this.subject.open(hostList('memcached'))
  }

  target(): Promise<number> {
    return Promise.resolve(DEFAULT_TARGET)
  }

  oracles(target: number): Promise<readonly Oracle[]> {
    const n = nextNode('memcached', target)
    const client = new RawMemcached(n)
    const key = `oracle:${randomUUID()}`
    return Promise.resolve([
      {
        name: `set on node ${n}`,
        workers: 1,
        pauseMs: ORACLE_PAUSE_MS,
        operate: ({ id }) => client.set(key, id),
        close: () => client.close(),
      },
    ])
  }

  /** Which keys have moved: to the heirs of the broken node, and where nothing was broken. */
  async survey(moment: 'before' | 'during', target: number): Promise<void> {
    if (moment === 'before') {
      this.#ownersBefore = await this.#owners(undefined)
      return
    }
    const owners = await this.#owners(target)
    for (const [key, before] of this.#ownersBefore) {
      const now = owners.get(key)
      if (before === target) {
        this.#counts.share += 1
        if (now !== undefined) this.#counts.inherited += 1
      } else if (now !== undefined && now !== before) {
        this.#counts.moved += 1
      }
    }
  }

  verify(): Promise<Findings> {
    const { stale, wrong, moved, ...notes } = this.#counts
    return Promise.resolve({ lost: 0, twice: 0, denied: 0, stale, wrong, moved, notes, examples: this.#examples })
  }

  async close(): Promise<void> {
    await closeAll([() => this.subject.close()])
  }

  /** Odd numbers write the next key in turn, even ones read any. */
  async #operate({ worker, sequence }: Operation): Promise<void> {
    const keys = this.#keys[worker] ?? []
    if (sequence % 2 === 1) {
      const owned = keys[((sequence - 1) / 2) % keys.length]
      if (owned === undefined) throw new Error(`worker ${worker} has no keys`)
      owned.attempted += 1
      const number = owned.attempted
      await this.subject.set(owned.key, cachedValue(owned.key, number))
      owned.floor = Math.max(owned.floor, number)
      return
    }
    const owned = this.#random.pick(keys)
    const floor = owned.floor
    const value = await this.subject.get(owned.key)
    if (value === undefined) {
      if (floor > 0) this.#counts.misses += 1
      return
    }
    this.#judge(owned, floor, value)
  }

  #judge(owned: OwnedKey, floor: number, value: string): void {
    const number = writeNumber(owned.key, value)
    if (number === undefined || number > owned.attempted) {
      this.#counts.wrong += 1
      this.#note(`wrong ${owned.key}: ${value.slice(0, 40)}`)
    } else if (number < floor) {
      this.#counts.stale += 1
      this.#note(`stale ${owned.key}: ${number} < ${floor}`)
    } else {
      this.#counts.hits += 1
      owned.floor = Math.max(owned.floor, number)
    }
  }

  #note(text: string): void {
    if (this.#examples.length < 6) this.#examples.push(text)
  }

  /** The node that has the newest value of each key, without one that is not asked. */
  async #owners(except: number | undefined): Promise<ReadonlyMap<string, number>> {
    const keys = this.#keys.flat().map(({ key }) => key)
    const newest = new Map<string, { readonly n: number; readonly number: number }>()
    for (const { n } of nodes('memcached')) {
      if (n === except) continue
      const client = new RawMemcached(n)
      try {
        for (const [key, value] of await client.getMany(keys)) {
          const number = writeNumber(key, value) ?? 0
          if (number > (newest.get(key)?.number ?? -1)) newest.set(key, { n, number })
        }
      } finally {
        client.close()
      }
    }
    return new Map([...newest].map(([key, { n }]) => [key, n]))
  }
}
