import type { FailoverEvent } from '../core/events.js'
import { ketamaPoints } from './ketama.js'
import { CacheNode, type NodeOutage, type NodeOwner } from './node.js'
import type { ResolvedMemcachedOptions } from './options.js'
import { Ring } from './ring.js'
import type { TransportFactory } from './transport.js'

/** What the client is told. @internal */
export interface MembershipEvents {
  /** A node went out or came in. */
  onChange(): void
  onHostUp(host: string): void
  onHostDown(host: string, cause: Error): void
  onFailover(event: FailoverEvent): void
}

/** All nodes, and which of them are in use. @internal */
export class Membership implements NodeOwner {
  readonly ring: Ring
  readonly nodes: readonly CacheNode[]
  readonly #events: MembershipEvents
  readonly #mustMark: boolean
  #evictionCount = 0

  constructor(options: ResolvedMemcachedOptions, openTransport: TransportFactory, events: MembershipEvents) {
    const { servers } = options
    this.#events = events
    this.#mustMark = options.rejoin !== 'trust'
    this.ring = new Ring(ketamaPoints(servers), servers.length)
    this.nodes = servers.map(
      (endpoint, index) => new CacheNode({ index, count: servers.length, endpoint }, options, openTransport, this),
    )
  }

  /** How often a node was taken out. */
  get evictionCount(): number {
    return this.#evictionCount
  }

  get hasLiveNode(): boolean {
    return this.nodes.some((node) => node.state === 'live')
  }

  /** The nodes that would be asked before the one that is, for a key with this hash. */
  passedOver(hash: number): readonly CacheNode[] {
    return this.ring.passedOver(hash).map((index) => this.nodes[index] as CacheNode)
  }

  onOut(node: CacheNode): void {
    this.#evictionCount += 1
    this.ring.setOut(node.index, true)
    if (this.#mustMark) {
      // Written before any request that moves to an heir, so that the answer is there before theirs.
      for (const heir of this.#nodesInRing()) heir.markAbsenceOf([node])
    }
    this.#events.onChange()
  }

  onIn(node: CacheNode): void {
    this.ring.setOut(node.index, false)
    const out = this.nodes.filter((other) => this.ring.isOut(other.index))
    if (this.#mustMark && out.length > 0) node.markAbsenceOf(out)
    this.#events.onChange()
  }

  onDown(node: CacheNode, { cause, detectedMs, wasUsed }: NodeOutage): void {
    this.#events.onHostDown(node.name, cause)
    if (!wasUsed || this.#nodesInRing().length === 0) return
    // The heirs are connected: they serve from the turn on in which the node is given up.
    this.#events.onFailover({ from: node.name, to: undefined, cause, detectedMs, elapsedMs: detectedMs })
  }

  onUp(node: CacheNode): void {
    this.#events.onHostUp(node.name)
  }

  /** Slowness of many at once is more likely ours or the network's: only a minority may be given up for it. */
  mayGiveUpSlowNode(): boolean {
    const slow = this.nodes.filter((node) => node.isGivenUpAsSlow).length
    return slow < Math.floor((this.nodes.length - 1) / 2)
  }

  #nodesInRing(): readonly CacheNode[] {
    return this.nodes.filter((node) => !this.ring.isOut(node.index))
  }
}
