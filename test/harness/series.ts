const CHUNK = 16_384

interface NumberChunk {
  [index: number]: number
}

/**
 * Numbers without end, outside the heap and in chunks: an array would be copied as a whole each time that it grows, and
 * be looked through by every collection of garbage, both of which show as gaps. `makeChunk` makes one, filled with zeros.
 */
export class Series<T extends NumberChunk> {
  readonly #makeChunk: (length: number) => T
  readonly #chunks: T[] = []
  #length = 0

  constructor(makeChunk: (length: number) => T) {
    this.#makeChunk = makeChunk
  }

  get length(): number {
    return this.#length
  }

  /** 0 where nothing was set. */
  at(index: number): number {
    return this.#chunks[Math.floor(index / CHUNK)]?.[index % CHUNK] ?? 0
  }

  set(index: number, value: number): void {
    while (index >= this.#chunks.length * CHUNK) this.#chunks.push(this.#makeChunk(CHUNK))
    const chunk = this.#chunks[Math.floor(index / CHUNK)] as T
    chunk[index % CHUNK] = value
    this.#length = Math.max(this.#length, index + 1)
  }

  add(value: number): void {
    this.set(this.#length, value)
  }

  values(): readonly number[] {
    return Array.from({ length: this.#length }, (_, index) => this.at(index))
  }
}
