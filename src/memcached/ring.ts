import type { RingPoints } from './ketama.js'

/**
 * Which node answers for a key: the first one in the ring, from the key's point on, that is in use.
 *
 * Taking a node out flips one bit and moves exactly its keys; no point is ever computed again.
 * @internal
 */
export class Ring {
  readonly #points: Uint32Array
  readonly #owners: Uint16Array
  readonly #isOut: Uint8Array
  #outCount = 0
  #version = 0

  constructor({ points, owners }: RingPoints, nodeCount: number) {
    this.#points = points
    this.#owners = owners
    this.#isOut = new Uint8Array(nodeCount)
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
    return this.#isOut[node] === 1
  }

  /** Takes a node out, or lets it back in. */
  setOut(node: number, out: boolean): void {
    if (this.isOut(node) === out) return
    this.#isOut[node] = out ? 1 : 0
    this.#outCount += out ? 1 : -1
    this.#version += 1
  }

  /** The node that answers for a key with this hash; -1 when all are out. */
  owner(hash: number): number {
    const first = firstPoint(this.#points, hash)
    const home = this.#owners[first] as number
    if (this.#isOut[home] === 0) return home
    if (this.#outCount === this.#isOut.length) return -1
    for (let at = this.#next(first); ; at = this.#next(at)) {
      const node = this.#owners[at] as number
      if (this.#isOut[node] === 0) return node
    }
  }

  /** The nodes that would answer before `owner(hash)` does if they were not out, in order; none for a node's own keys. */
  passedOver(hash: number): readonly number[] {
    const passed: number[] = []
    let at = firstPoint(this.#points, hash)
    for (let left = this.#points.length; left > 0; left -= 1) {
      const node = this.#owners[at] as number
      if (this.#isOut[node] === 0) break
      if (!passed.includes(node)) passed.push(node)
      at = this.#next(at)
    }
    return passed
  }

  #next(at: number): number {
    return at + 1 === this.#owners.length ? 0 : at + 1
  }
}

/** Index of the first point that is not below `hash`; behind the last one comes the first. @internal */
export function firstPoint(points: Uint32Array, hash: number): number {
  let low = 0
  let high = points.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((points[middle] as number) < hash) low = middle + 1
    else high = middle
  }
  return low === points.length ? 0 : low
}
