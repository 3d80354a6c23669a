/** What one entry costs beside its key: the set's slot and the string's head. */
const ENTRY_OVERHEAD_BYTES = 64

/**
 * The keys whose copy on a node is out of date, because they were changed on an heir while the node was out.
 *
 * Bounded: when it is full it forgets everything and says so, and the node's values are then judged by their age.
 * @internal
 */
export class Journal {
  readonly #maxBytes: number
  readonly #keys = new Set<string>()
  #bytes = 0
  #hasOverflowed = false

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get size(): number {
    return this.#keys.size
  }

  /** True when keys were forgotten since the last `clear()`. */
  get hasOverflowed(): boolean {
    return this.#hasOverflowed
  }

  add(key: string): void {
    if (this.#hasOverflowed || this.#keys.has(key)) return
    this.#keys.add(key)
    this.#bytes += key.length + ENTRY_OVERHEAD_BYTES
    if (this.#bytes > this.#maxBytes) this.overflow()
  }

  /** Forgets everything: all values of the node are out of date. */
  overflow(): void {
    this.clear()
    this.#hasOverflowed = true
  }

  remove(key: string): void {
    if (this.#keys.delete(key)) this.#bytes -= key.length + ENTRY_OVERHEAD_BYTES
  }

  /** At most `count` keys, which stay. */
  first(count: number): readonly string[] {
    const keys: string[] = []
    for (const key of this.#keys) {
      if (keys.push(key) === count) break
    }
    return keys
  }

  clear(): void {
    this.#keys.clear()
    this.#bytes = 0
    this.#hasOverflowed = false
  }
}
