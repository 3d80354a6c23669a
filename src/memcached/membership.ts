import type { FailoverEvent } from '../core/events.js'
import { copyFrom } from './copy.js'
import { Layout } from './layout.js'
import { md5Point } from './md5.js'
import { CacheNode } from './node.js'
import type { NodeOutage, NodeOwner } from './node-owner.js'
import type { ResolvedMemcachedOptions } from './options.js'
import type { Selector, Shares } from './selector.js'
import type { ServerAddress } from './server-address.js'
import type { Payload, TransportFactory } from './transport.js'

/** What the client is told. @internal */
export interface MembershipEvents {
  /** A node went out or came in. */
  onChange(): void
  onHostUp(host: string): void
  onHostDown(host: string, cause: Error): void
  onFailover(event: FailoverEvent): void
}

/**
 * Servers that were removed and whose keys are still looked after: their heirs may hold copies from before. When there
 * are more, the one that was removed first is forgotten.
 */
const MAX_REMOVED = 16

/**
 * All nodes, and which of them are in use.
 *
 * A node keeps its number for as long as it has keys in the ring. A server that is removed stays there as one that is
 * out, so that its keys go to the heirs, as if it had died, and no other key moves.
 * @internal
 */
export class Membership implements NodeOwner {
  readonly #options: ResolvedMemcachedOptions
  readonly #openTransport: TransportFactory
  readonly #events: MembershipEvents
  readonly #mustMark: boolean
  #nodes: readonly (CacheNode | undefined)[]
  #layout: Layout
  #ring: Selector
  #evictionCount = 0

  constructor(options: ResolvedMemcachedOptions, openTransport: TransportFactory, events: MembershipEvents) {
    this.#options = options
    this.#openTransport = openTransport
    this.#events = events
    this.#mustMark = options.rejoin !== 'trust'
    this.#nodes = options.servers.map((server, index) => this.#newNode(index, server, false))
    this.#layout = new Layout(options.compat, this.members)
    this.#ring = this.#layout.selector(this.#nodes.length, 0)
  }

  get ring(): Selector {
    return this.#ring
  }

  /** By their numbers; some may be removed. */
  get nodes(): readonly (CacheNode | undefined)[] {
    return this.#nodes
  }

  /** Nodes of servers that are in the list. */
  get members(): readonly CacheNode[] {
    return this.#nodes.filter((node) => node !== undefined && node.state !== 'removed') as CacheNode[]
  }

  /** How often a node was taken out. */
  get evictionCount(): number {
    return this.#evictionCount
  }

  get hasLiveNode(): boolean {
    return this.#nodes.some((node) => node?.state === 'live')
  }

  /** The nodes that would be asked before the one that is, for a key with this hash. */
  passedOver(hash: number, key: string): readonly CacheNode[] {
    return this.#ring.passedOver(hash, key).map((index) => this.#nodes[index] as CacheNode)
  }

  /** What each node has of the keys, by its number. */
  shares(): Shares {
    return this.#ring.shares()
  }

  /** Begins to connect. */
  start(): void {
    for (const node of this.members) node.start()
  }

  stop(error: Error): void {
    for (const node of this.members) node.stop(error)
  }

  /** Replaces the list of servers: those that stay keep their connections and their keys. */
  setServers(servers: readonly ServerAddress[]): void {
    const wanted = new Map(servers.map((server) => [server.name, server]))
    const removed = this.members.filter(({ name }) => !wanted.has(name))
    const known = new Set(this.members.map(({ name }) => name))
    const added = servers.filter(({ name }) => !known.has(name))
    const nodes = [...this.#nodes]
    const joining = added.map((server) => this.#place(nodes, server))
    for (const node of removed) this.#leave(node)
    this.#nodes = nodes
    this.#forgetOldest()
    this.#rebuild(wanted, joining)
    for (const node of joining) node.start()
    this.#events.onChange()
    // Only now: what they leave unanswered moves on to the nodes of the new list.
    for (const node of removed) node.stop(new Error(`${node.name} is not one of the servers any more`))
  }

  onOut(node: CacheNode): void {
    this.#evictionCount += 1
    this.#ring.setOut(node.index, true)
    if (this.#mustMark) this.#markAbsenceOf(node)
    this.#events.onChange()
  }

  onIn(node: CacheNode): void {
    this.#ring.setOut(node.index, false)
    const out = this.#nodes.filter((other) => other !== undefined && this.#ring.isOut(other.index)) as CacheNode[]
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
    const slow = this.members.filter((node) => node.isGivenUpAsSlow).length
    return slow < Math.floor((this.members.length - 1) / 2)
  }

  copyFromHeir(node: CacheNode, key: string): Promise<Payload | undefined> {
    const hash = md5Point(key)
    const heir = this.#nodes[this.#ring.owner(hash, key)]
    const passedOver = this.passedOver(hash, key)
    if (heir === undefined || !passedOver.includes(node)) return Promise.resolve(undefined)
    return copyFrom(heir, { key, hash }, passedOver)
  }

  /** A place for a server's node: the one that it had before, a free one, or a new one. */
  #place(nodes: (CacheNode | undefined)[], server: ServerAddress): CacheNode {
    const former = nodes.find((node) => node?.name === server.name)
    const free = nodes.findIndex((node) => node === undefined)
    const index = former?.index ?? (free < 0 ? nodes.length : free)
    if (former === undefined) for (const other of this.members) other.welcome(index)
    const node = this.#newNode(index, server, true, former?.absences)
    nodes[index] = node
    return node
  }

  #leave(node: CacheNode): void {
    node.remove()
    this.#ring.setOut(node.index, true)
    if (this.#mustMark) this.#markAbsenceOf(node)
  }

  #forgetOldest(): void {
    const removed = this.#nodes.filter((node) => node?.state === 'removed') as CacheNode[]
    const oldest = removed.sort((a, b) => a.since - b.since).slice(0, Math.max(0, removed.length - MAX_REMOVED))
    for (const { index } of oldest) {
      if (this.#mustMark) for (const node of this.members) node.forget(index)
    }
    this.#nodes = this.#nodes.map((node) => (node !== undefined && oldest.includes(node) ? undefined : node))
  }

  #rebuild(wanted: ReadonlyMap<string, ServerAddress>, joining: readonly CacheNode[]): void {
    for (const node of this.members) node.server = wanted.get(node.name) ?? node.server
    const removed = this.#nodes.filter((node) => node?.state === 'removed') as CacheNode[]
    const layout = new Layout(this.#options.compat, this.members, { removed, before: this.#layout })
    const ring = layout.selector(this.#nodes.length, this.#ring.version + 1)
    for (const node of this.#nodes) {
      if (node === undefined) continue
      ring.setOut(node.index, joining.includes(node) || node.state === 'removed' || this.#ring.isOut(node.index))
    }
    // Where the share of a server that stays has changed, its keys have moved between servers that stay.
    if (this.#mustMark && layout.hasMovedKeys) for (const node of this.members) node.outdate()
    this.#layout = layout
    this.#ring = ring
  }

  #newNode(index: number, server: ServerAddress, joins: boolean, absences = 0): CacheNode {
    return new CacheNode({ index, server, absences, joins }, this.#options, this.#openTransport, this)
  }

  /** Written before any request that moves to an heir, so that the answer is there before theirs. */
  #markAbsenceOf(node: CacheNode): void {
    for (const heir of this.#nodesInRing()) heir.markAbsenceOf([node])
  }

  #nodesInRing(): readonly CacheNode[] {
    return this.members.filter((node) => !this.#ring.isOut(node.index))
  }
}
