/** The share of all keys that each node has, by its number. @internal */
export interface Shares {
  /** As if none were out. */
  readonly all: Float64Array
  /** Of those that are in use now. */
  readonly present: Float64Array
}

/**
 * Which node answers for a key, and which would have if they were not out.
 *
 * Taking a node out flips one bit and moves exactly its keys. Nodes have fixed numbers, below `size`.
 * @internal
 */
export abstract class Selector {
  protected readonly isOutBits: Uint8Array
  #outCount = 0
  #version: number

  /** `version` is where to count on from, for one that takes the place of another. */
  constructor(size: number, version = 0) {
    this.isOutBits = new Uint8Array(size)
    this.#version = version
  }

  /** Nodes that are out. */
  get outCount(): number {
    return this.#outCount
  }

  /** Grows with each change. */
  get version(): number {
    return this.#version
  }

  isOut(node: number): boolean {
    return this.isOutBits[node] === 1
  }

  /** Takes a node out, or lets it back in. */
  setOut(node: number, out: boolean): void {
    if (this.isOut(node) === out) return
    this.isOutBits[node] = out ? 1 : 0
    this.#outCount += out ? 1 : -1
    this.#version += 1
  }

  /** The node that answers for a key with this hash; -1 when all are out. */
  abstract owner(hash: number, key: string): number

  /** The nodes that would answer before `owner` does if they were not out, in order; none for a node's own keys. */
  abstract passedOver(hash: number, key: string): readonly number[]

  abstract shares(): Shares
}
