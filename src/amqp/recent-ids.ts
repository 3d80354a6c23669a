import { now } from '../core/timing.js'

/** A message id, or the offset of a message in a stream. @internal */
export type Id = string | number

/**
 * Ids seen lately: `maxIds` and `ttlMs` at most, and half of either at least.
 *
 * Two generations, of which the older is dropped as a whole. Taking ids out one by one would cost several times as much:
 * a Set that gains and loses a key with every message drags its outgrown tables along.
 * @internal
 */
export class RecentIds {
  readonly #maxIds: number
  readonly #ttlMs: number
  #young = new Set<Id>()
  #old = new Set<Id>()
  #since = now()

  constructor(maxIds: number, ttlMs: number) {
    this.#maxIds = maxIds / 2
    this.#ttlMs = ttlMs / 2
  }

  get isEmpty(): boolean {
    return this.#young.size === 0 && this.#old.size === 0
  }

  add(id: Id): void {
    this.#age()
    this.#young.add(id)
    if (this.#young.size >= this.#maxIds) this.#turn()
  }

  has(id: Id): boolean {
    if (this.isEmpty) return false
    this.#age()
    return this.#young.has(id) || this.#old.has(id)
  }

  #age(): void {
    const ageMs = now() - this.#since
    if (ageMs < this.#ttlMs) return
    this.#turn()
    if (ageMs >= 2 * this.#ttlMs) this.#old = new Set()
  }

  #turn(): void {
    this.#old = this.#young
    this.#young = new Set()
    this.#since = now()
  }
}
