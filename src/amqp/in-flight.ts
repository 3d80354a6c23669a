/** Twice the largest window, so that it takes a message that is left behind for a whole window to leave the ring. */
const CAPACITY = 8192
const MASK = CAPACITY - 1

/**
 * What is in flight on a channel, by delivery tag.
 *
 * A ring, because tags count up and confirmations come nearly in that order. What is overtaken by a whole turn of the
 * ring (its queue has no leader, while others of the same channel work) is kept aside.
 * @internal
 */
export class InFlight<T> {
  readonly #ring: (T | undefined)[] = []
  readonly #overtaken = new Map<number, T>()
  /** No lower tag is in the ring. */
  #low = 1
  #next = 1
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Takes an entry in under the next delivery tag; the first is 1. */
  add(entry: T): void {
    if (this.#next - this.#low === CAPACITY) this.#setAside()
    this.#ring[this.#next & MASK] = entry
    this.#next += 1
    this.#size += 1
  }

  /** Takes an entry out; `undefined` for a tag that is unknown or was taken before. */
  take(tag: number): T | undefined {
    if (tag < this.#low || tag >= this.#next) return this.#takeOvertaken(tag)
    const entry = this.#ring[tag & MASK]
    if (entry === undefined) return undefined
    this.#ring[tag & MASK] = undefined
    this.#size -= 1
    this.#skipGaps()
    return entry
  }

  /** Takes out all entries up to a tag, oldest first. */
  takeUpTo(tag: number): T[] {
    const taken: T[] = []
    for (const overtaken of this.#overtaken.keys()) {
      const entry = overtaken > tag ? undefined : this.#takeOvertaken(overtaken)
      if (entry !== undefined) taken.push(entry)
    }
    const last = Math.min(tag, this.#next - 1)
    for (let each = this.#low; each <= last; each += 1) {
      const entry = this.take(each)
      if (entry !== undefined) taken.push(entry)
    }
    return taken
  }

  /** The entry that was sent first. */
  get oldest(): T | undefined {
    for (const entry of this.#overtaken.values()) return entry
    return this.#low < this.#next ? this.#ring[this.#low & MASK] : undefined
  }

  /** The oldest entry that is meant. */
  find(isMeant: (entry: T) => boolean): T | undefined {
    for (const entry of this.#overtaken.values()) if (isMeant(entry)) return entry
    for (let tag = this.#low; tag < this.#next; tag += 1) {
      const entry = this.#ring[tag & MASK]
      if (entry !== undefined && isMeant(entry)) return entry
    }
    return undefined
  }

  #takeOvertaken(tag: number): T | undefined {
    if (this.#overtaken.size === 0) return undefined
    const entry = this.#overtaken.get(tag)
    if (this.#overtaken.delete(tag)) this.#size -= 1
    return entry
  }

  #setAside(): void {
    const entry = this.#ring[this.#low & MASK]
    if (entry !== undefined) this.#overtaken.set(this.#low, entry)
    this.#ring[this.#low & MASK] = undefined
    this.#low += 1
    this.#skipGaps()
  }

  #skipGaps(): void {
    while (this.#low < this.#next && this.#ring[this.#low & MASK] === undefined) this.#low += 1
  }
}
