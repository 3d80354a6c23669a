import { now } from '../core/timing.js'

/** A message id, or the offset of a message in a stream. @internal */
export type Id = string | number

/** The last ids that came, `max` of them. @internal */
export class LatestIds {
  readonly #max: number
  readonly #ids: Id[] = []
  #next = 0

  constructor(max: number) {
    this.#max = max
  }

  add(id: Id): void {
    this.#ids[this.#next] = id
    this.#next = (this.#next + 1) % this.#max
  }

  /** In no particular order. */
  all(): readonly Id[] {
    return this.#ids
  }
}

/** Ids of one stretch of time, as they came. The set of them is made when somebody looks one up. */
class Generation {
  readonly #ids: Id[] = []
  readonly #index = new Set<Id>()
  #indexedCount = 0

  get size(): number {
    return this.#ids.length
  }

  add(id: Id): void {
    this.#ids.push(id)
  }

  has(id: Id): boolean {
    for (; this.#indexedCount < this.#ids.length; this.#indexedCount += 1) {
      this.#index.add(this.#ids[this.#indexedCount] as Id)
    }
    return this.#index.has(id)
  }
}

/**
 * Ids seen lately: `maxIds` and `ttlMs` at most, and half of either at least.
 *
 * Made for many additions and few look-ups: a Set that gains an id with every message costs four times as much as a list,
 * and one that also loses one each time drags its outgrown tables along, so the older of two generations is dropped as a
 * whole.
 * @internal
 */
export class RecentIds {
  readonly #maxIds: number
  readonly #ttlMs: number
  #young = new Generation()
  #old = new Generation()
  #since = now()

  constructor(maxIds: number, ttlMs: number) {
    this.#maxIds = maxIds / 2
    this.#ttlMs = ttlMs / 2
  }

  add(id: Id): void {
    this.#age()
    this.#young.add(id)
    if (this.#young.size >= this.#maxIds) this.#turn()
  }

  has(id: Id): boolean {
    if (this.#young.size === 0 && this.#old.size === 0) return false
    this.#age()
    return this.#young.has(id) || this.#old.has(id)
  }

  #age(): void {
    const ageMs = now() - this.#since
    if (ageMs < this.#ttlMs) return
    this.#turn()
    if (ageMs >= 2 * this.#ttlMs) this.#old = new Generation()
  }

  #turn(): void {
    this.#old = this.#young
    this.#young = new Generation()
    this.#since = now()
  }
}
