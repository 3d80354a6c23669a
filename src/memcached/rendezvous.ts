import { murmur3 } from './murmur3.js'
import { Selector, type Shares } from './selector.js'

/** A node as its clients name it in the hash. @internal */
export interface NamedNode {
  readonly index: number
  readonly name: string
}

/**
 * Rendezvous hashing as pymemcache's `HashClient` does it (and with it dogpile.cache and oslo.cache): the node with the
 * highest murmur3 of `node-key` answers, of two with the same the one whose name is greater.
 * @internal
 */
export class Rendezvous extends Selector {
  readonly #nodes: readonly NamedNode[]

  constructor(nodes: readonly NamedNode[], size: number, version = 0) {
    super(size, version)
    this.#nodes = nodes
  }

  owner(_hash: number, key: string): number {
    return this.#best(key, (node) => this.isOutBits[node] === 0)
  }

  passedOver(_hash: number, key: string): readonly number[] {
    const passed: number[] = []
    for (;;) {
      const next = this.#best(key, (node) => !passed.includes(node))
      if (next < 0 || !this.isOut(next)) return passed
      passed.push(next)
    }
  }

  /** All have the same share, and that of one that is out is shared out evenly. */
  shares(): Shares {
    const all = new Float64Array(this.isOutBits.length)
    const present = new Float64Array(this.isOutBits.length)
    const live = this.#nodes.filter(({ index }) => !this.isOut(index))
    for (const { index } of this.#nodes) all[index] = 1 / this.#nodes.length
    for (const { index } of live) present[index] = 1 / live.length
    return { all, present }
  }

  #best(key: string, isWanted: (node: number) => boolean): number {
    let best: NamedNode | undefined
    let highest = -1
    for (const node of this.#nodes) {
      if (!isWanted(node.index)) continue
      const score = murmur3(`${node.name}-${key}`)
      if (score > highest || (score === highest && best !== undefined && node.name > best.name)) {
        best = node
        highest = score
      }
    }
    return best?.index ?? -1
  }
}
