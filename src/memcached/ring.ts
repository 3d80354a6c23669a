import type { RingPoints } from './ketama.js'
import { Selector, type Shares } from './selector.js'

const HASHES = 2 ** 32

/**
 * A consistent-hash ring: the first node from the key's point on that is in use answers. No point is ever computed again.
 * @internal
 */
export class Ring extends Selector {
  readonly #points: Uint32Array
  readonly #owners: Uint16Array
  readonly #isOut: Uint8Array

  constructor({ points, owners }: RingPoints, size: number, version = 0) {
    super(size, version)
    this.#points = points
    this.#owners = owners
    this.#isOut = this.isOutBits
  }

  owner(hash: number): number {
    const first = firstPoint(this.#points, hash)
    const home = this.#owners[first] as number
    if (this.#isOut[home] === 0) return home
    let at = first
    for (let left = this.#owners.length; left > 0; left -= 1) {
      at = this.#next(at)
      const node = this.#owners[at] as number
      if (this.#isOut[node] === 0) return node
    }
    return -1
  }

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

  /** By the lengths of the arcs that end at each node's points. */
  shares(): Shares {
    const all = new Float64Array(this.#isOut.length)
    const present = new Float64Array(this.#isOut.length)
    let before = (this.#points.at(-1) ?? 0) - HASHES
    this.#points.forEach((point, i) => {
      const share = (point - before) / HASHES
      before = point
      const node = this.#owners[i] as number
      all[node] = (all[node] as number) + share
      const owner = this.owner(point)
      if (owner >= 0) present[owner] = (present[owner] as number) + share
    })
    return { all, present }
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
