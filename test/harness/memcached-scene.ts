import { randomUUID } from 'node:crypto'
import { nodes } from '../cluster/index.js'
import { CacheWorkers } from './cache-workers.js'
import { writeNumber } from './cached-value.js'
import { closeAll } from './closing.js'
import { hostList, nextNode } from './in-use.js'
import { RawMemcached } from './memcached-admin.js'
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
  /** Operations per second of all workers together; as fast as they are answered when not given. */
  readonly ratePerSecond?: number
  /** A second client under the same load on keys of its own, to compare with: it may find what is stale. */
  readonly rival?: CacheSubject
}

/** A cache under {@link CacheWorkers}, and where on the servers its keys are. */
export class MemcachedScene implements Scene {
  readonly kind = 'memcached'
  readonly subject: CacheSubject
  readonly main: Load
  readonly sides: Scene['sides']
  readonly series: Scene['series'] = {}
  readonly #rival: CacheSubject | undefined
  readonly #workers: CacheWorkers
  readonly #rivalWorkers: CacheWorkers | undefined
  readonly #counts = { moved: 0, share: 0, inherited: 0 }
  #ownersBefore: ReadonlyMap<string, number> = new Map()

  constructor(subject: CacheSubject, options: MemcachedSceneOptions = {}) {
    const { workers = 16, keys = 2000, allowanceMs, ratePerSecond, rival } = options
    this.subject = subject
    this.#workers = new CacheWorkers(subject, workers, keys)
    const load = {
      workers,
      ...(allowanceMs === undefined ? {} : { allowanceMs }),
      ...(ratePerSecond === undefined ? {} : { ratePerSecond }),
    }
    this.main = { ...load, operate: (operation) => this.#workers.operate(operation) }
    const rivals = rival === undefined ? undefined : new CacheWorkers(rival, workers, keys)
    this.#rival = rival
    this.#rivalWorkers = rivals
    this.sides = rivals === undefined ? [] : [{ ...load, name: 'rival', operate: (one) => rivals.operate(one) }]
  }

  async open(): Promise<void> {
    await this.subject.open(hostList('memcached'))
    await this.#rival?.open(hostList('memcached'))
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
    const { stale, wrong, hits, misses } = this.#workers.counts
    const { moved, ...shares } = this.#counts
    const notes = { hits, misses, ...shares, ...this.subject.notes?.(), ...this.#rivalNotes() }
    const { examples } = this.#workers
    return Promise.resolve({ lost: 0, twice: 0, denied: 0, stale, wrong, moved, notes, examples })
  }

  #rivalNotes(): Readonly<Record<string, number>> {
    const rivals = this.#rivalWorkers
    if (rivals === undefined) return {}
    const points = (workers: CacheWorkers): number => Math.round(workers.hitRate * 1000) / 10
    const hitRates = { hitPercent: points(this.#workers), rivalHitPercent: points(rivals) }
    return { ...hitRates, rivalStale: rivals.counts.stale }
  }

  async close(): Promise<void> {
    await closeAll([() => this.subject.close(), async () => this.#rival?.close()])
  }

  /** The node that has the newest value of each key, without one that is not asked. */
  async #owners(except: number | undefined): Promise<ReadonlyMap<string, number>> {
    const { keys } = this.#workers
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
