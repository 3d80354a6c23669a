import type { HostEvent } from '../core/events.js'
import type { HostReason } from './errors.js'
import type { Node } from './node.js'
import type { Readers } from './readers.js'

/** Tells when a host becomes usable and when it stops being so, once each, and why hosts are not written to. @internal */
export class HostReports {
  readonly #readers: Readers
  readonly #report: (name: 'hostUp' | 'hostDown', event: HostEvent) => void
  readonly #usable = new Set<Node>()

  constructor(readers: Readers, report: (name: 'hostUp' | 'hostDown', event: HostEvent) => void) {
    this.#readers = readers
    this.#report = report
  }

  /** To be called with each change of the node. */
  note(node: Node): void {
    const problem = node.unfitFor('read')
    if (problem === undefined && !this.#usable.has(node)) {
      this.#usable.add(node)
      this.#report('hostUp', { host: node.name, cause: undefined })
    } else if (problem !== undefined && this.#usable.delete(node)) {
      const cause = node.state === 'down' ? node.lastError : undefined
      this.#report('hostDown', { host: node.name, cause: cause ?? new Error(`${node.name} ${problem}`) })
    }
  }

  /** Why the node is not written to. That it is behind the others only the pool can know. */
  unfit(node: Node): string | undefined {
    const problem = node.unfitFor('write')
    return problem === undefined && !this.#readers.has(node) ? 'is in an older view' : problem
  }

  /** What each of the nodes is, for an error that none could be used. */
  reasons(nodes: readonly Node[]): readonly HostReason[] {
    return nodes.map((node) => ({
      host: node.name,
      state: this.unfit(node) ?? 'is fit',
      error: node.lastError,
    }))
  }
}
