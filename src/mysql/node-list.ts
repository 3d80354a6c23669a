import { formatEndpoint } from '../core/endpoint.js'
import { ConnectionLostError } from '../core/errors.js'
import { releasedWithin } from './lease.js'
import type { Node } from './node.js'
import type { MysqlHost } from './options.js'

/** What a new list of hosts changes. @internal */
export interface NodeChange {
  readonly added: readonly Node[]
  readonly removed: readonly Node[]
}

/** The nodes of a pool: those of its hosts, and those that were taken out and finish what runs on them. @internal */
export class NodeList {
  readonly #make: (host: MysqlHost) => Node
  readonly #drainTimeoutMs: number
  readonly #closed = new AbortController()
  #current: readonly Node[]
  readonly #leaving = new Set<Node>()

  constructor(hosts: readonly MysqlHost[], drainTimeoutMs: number, make: (host: MysqlHost) => Node) {
    this.#make = make
    this.#drainTimeoutMs = drainTimeoutMs
    this.#current = hosts.map((host) => make(host))
  }

  /** Those of the hosts, in their order. */
  get current(): readonly Node[] {
    return this.#current
  }

  /** By its host, also one that was taken out and still has connections. */
  find(host: string): Node | undefined {
    return [...this.#current, ...this.#leaving].find(({ name }) => name === host)
  }

  /** Takes other hosts; a node whose host stays stays. What is added is not started, what is removed still runs. */
  replace(hosts: readonly MysqlHost[]): NodeChange {
    const before = new Map(this.#current.map((node) => [node.name, node]))
    const added: Node[] = []
    this.#current = hosts.map((host) => {
      const known = before.get(formatEndpoint(host.endpoint))
      known?.update(host)
      const node = known ?? this.#make(host)
      if (known === undefined) added.push(node)
      return node
    })
    return { added, removed: [...before.values()].filter((node) => !this.#current.includes(node)) }
  }

  /** Starts nothing new on a node that was removed, lets what runs there finish for a moment, and closes it. */
  async dismiss(node: Node): Promise<void> {
    node.remove()
    this.#leaving.add(node)
    try {
      await releasedWithin(() => node.pool.busyCount, this.#drainTimeoutMs, this.#closed.signal)
    } catch {
      return
    }
    this.#leaving.delete(node)
    node.close(new ConnectionLostError(node.name, 'the host was removed'))
  }

  close(reason: Error): void {
    this.#closed.abort(reason)
    for (const node of [...this.#current, ...this.#leaving]) node.close(reason)
  }
}
