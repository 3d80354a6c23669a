import { sameComponent } from './election.js'
import type { Node } from './node.js'

/** The nodes that may be read from, and whose turn it is. @internal */
export class Readers {
  #nodes: readonly Node[] = []
  #last: Node | undefined

  get isEmpty(): boolean {
    return this.#nodes.length === 0
  }

  has(node: Node): boolean {
    return this.#nodes.includes(node)
  }

  /** Finds out anew which of all nodes are fit, and in the newest view. */
  survey(nodes: readonly Node[]): void {
    this.#nodes = sameComponent(nodes.filter((node) => node.unfitFor('read') === undefined))
  }

  /** The least busy node with room; equally busy ones take turns. */
  pick(): Node | undefined {
    // A node in doubt loses its load first, so that it would be the least busy one, and get what it lost once more.
    const sound = this.#nodes.filter((node) => node.state === 'up')
    const nodes = sound.length > 0 ? sound : this.#nodes
    // Else a quiet client would read from the first node only, which is the writer mostly.
    const from = (this.#last === undefined ? -1 : nodes.indexOf(this.#last)) + 1
    let best: Node | undefined
    for (const node of [...nodes.slice(from), ...nodes.slice(0, from)]) {
      if (node.pool.hasRoom && (best === undefined || node.pool.busyCount < best.pool.busyCount)) best = node
    }
    this.#last = best ?? this.#last
    return best
  }
}
