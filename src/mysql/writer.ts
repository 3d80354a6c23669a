import { backoffDelay } from '../core/backoff.js'
import { ConnectionLostError, toError } from '../core/errors.js'
import type { FailoverEvent } from '../core/events.js'
import { now, sleep } from '../core/timing.js'
import { electWriter, type Candidate, type ElectionResult } from './election.js'
import { releasedWithin, type Lease } from './lease.js'
import type { Node } from './node.js'
import type { ResolvedMysqlPoolOptions } from './options.js'

/**
 * `none` nobody can be written to, `promoting` one was chosen and is being made current, `serving` it is written to,
 * `leaving` it is to be left and running work may finish: nothing new starts. @internal
 */
type WriterState =
  | { readonly value: 'none' }
  | { readonly value: 'promoting'; readonly node: Node; readonly stop: AbortController }
  | { readonly value: 'serving'; readonly node: Node; readonly serverId: string | undefined }
  | { readonly value: 'leaving'; readonly node: Node; readonly stop: AbortController }

/** What the owner of a {@link Writer} is told; always after the state changed. @internal */
export interface WriterListener {
  /** A node can be written to. */
  readonly onServing: (node: Node, failover: FailoverEvent | undefined) => void
  /** No node can be written to; writes are held. */
  readonly onLost: (cause: Error) => void
}

/** One causal read may take so long before it is tried again: it waits for the cluster to agree on its members. */
const CAUSAL_READ_LIMIT_MS = 5000
const PROMOTION_BACKOFF = { initialMs: 50, factor: 2, maxMs: 1000 }
/** A failback waits so long for a moment without checkouts. */
const FAILBACK_PATIENCE_MS = 60_000
const FAILBACK_LOOK_MS = 25

/** Why and whom the pool writes to, for the status. */
export interface WriterStatus {
  /** `host:port`; `undefined` while there is none. */
  readonly host: string | undefined
  readonly state: 'none' | 'promoting' | 'serving' | 'leaving'
  /** Why this node and no other. */
  readonly reason: string
}

/**
 * Decides whom the pool writes to, and makes changes of the writer safe.
 *
 * The only place that knows the writer. A change is unplanned (the node is dead: its connections are cut now), planned
 * (it refuses writes: what runs may finish for a moment) or a failback (nothing is wrong: it waits for a moment without
 * checkouts). No checkout of a new writer happens before one causal read on it has returned: without it a commit
 * acknowledged on the old writer can be invisible on the new one for a while. @internal
 */
export class Writer {
  #nodes: readonly Node[]
  readonly #options: ResolvedMysqlPoolOptions
  readonly #listener: WriterListener
  readonly #leases = new Set<Lease>()
  readonly #startedAt = now()
  #state: WriterState = { value: 'none' }
  #result: ElectionResult = { writer: undefined, reason: 'no node was reached yet', members: [] }
  #previous:
    | {
        readonly node: Node
        readonly serverId: string | undefined
        readonly cause: Error
        readonly since: number
        readonly detectedMs: number
      }
    | undefined
  #failback: AbortController | undefined
  #firstAnswerAt: number | undefined
  #settleTimer: NodeJS.Timeout | undefined
  #isClosed = false
  /** The node that this client found the others writing to when it came; `null` before its first writer. */
  #followed: Node | null | undefined = null

  constructor(nodes: readonly Node[], options: ResolvedMysqlPoolOptions, listener: WriterListener) {
    this.#nodes = nodes
    this.#options = options
    this.#listener = listener
  }

  /** The node to write to, or `undefined` while writes are held. */
  get current(): Node | undefined {
    return this.#state.value === 'serving' ? this.#state.node : undefined
  }

  /** The node of any state but `none`. */
  get node(): Node | undefined {
    return this.#state.value === 'none' ? undefined : this.#state.node
  }

  /** The hosts of the list as they are now; the owner evaluates when it has told the world. */
  setNodes(nodes: readonly Node[]): void {
    this.#nodes = nodes
  }

  status(): WriterStatus {
    return Object.freeze({ host: this.node?.name, state: this.#state.value, reason: this.#result.reason })
  }

  addLease(lease: Lease): void {
    this.#leases.add(lease)
  }

  removeLease(lease: Lease): void {
    this.#leases.delete(lease)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#settleTimer)
    this.#failback?.abort()
    if (this.#state.value === 'promoting' || this.#state.value === 'leaving') this.#state.stop.abort()
    this.#state = { value: 'none' }
  }

  /** Looks at the nodes again; called whenever something about one of them changed. */
  evaluate(): void {
    if (this.#isClosed || !this.#isSettled()) return
    this.#result = this.#elect()
    const state = this.#state
    switch (state.value) {
      case 'none':
        this.#promoteElected()
        return
      case 'promoting':
        if (this.#elected() === state.node) return
        state.stop.abort()
        this.#state = { value: 'none' }
        this.#promoteElected()
        return
      case 'leaving':
        if (state.node.state === 'down') state.stop.abort()
        return
      case 'serving':
        this.#reconsider(state.node, state.serverId)
    }
  }

  /** By object and not by name: a host that was removed and added again is a new node. */
  #elected(): Node | undefined {
    return this.#nodes.find(({ name }) => name === this.#result.writer)
  }

  #elect(): ElectionResult {
    return electWriter({
      candidates: this.#nodes.map((node) => toCandidate(node, this.#isFollowed(node))),
      isClientYoung: now() - this.#startedAt < this.#options.failbackDelayMs,
    })
  }

  /**
   * Growth tells only before this client writes itself: afterwards its own writes grow, and two clients on two nodes
   * would follow each other for ever.
   */
  #isFollowed(node: Node): boolean {
    return this.#followed === null ? node.isWrittenTo : node === this.#followed
  }

  /** The first election waits until every node was heard, but not for long: a dead one must not delay the start. */
  #isSettled(): boolean {
    if (this.#state.value !== 'none' || this.#previous !== undefined) return true
    if (this.#nodes.every((node) => node.isSettled)) return true
    if (!this.#nodes.some((node) => node.report !== undefined)) return false
    this.#firstAnswerAt ??= now()
    const leftMs = this.#firstAnswerAt + this.#options.probeTimeoutMs - now()
    if (leftMs <= 0) return true
    this.#settleTimer ??= setTimeout(() => {
      this.#settleTimer = undefined
      this.evaluate()
    }, leftMs + 1).unref()
    return false
  }

  #reconsider(node: Node, serverId: string | undefined): void {
    const isOther = node.serverId !== serverId
    const problem = node.unfitFor('write') ?? (isOther ? 'leads to another server now' : undefined)
    if (problem === undefined && this.#elected() === node) {
      this.#failback?.abort()
      this.#failback = undefined
      return
    }
    if (problem === undefined && this.#result.members.includes(node.name)) {
      if (this.#failback === undefined) void this.#failBack(node)
      return
    }
    const cause = node.state === 'down' ? node.lastError : undefined
    const error = new ConnectionLostError(
      node.name,
      `it is no longer the writer: it ${problem ?? 'is in an older view'}`,
      { cause },
    )
    this.#leave(node, error, node.state === 'down' ? 0 : this.#options.drainTimeoutMs)
  }

  /** Not urgent: the better node has waited for its failback delay, it can wait for a moment without checkouts. */
  async #failBack(node: Node): Promise<void> {
    const stop = new AbortController()
    this.#failback = stop
    try {
      await releasedWithin(() => this.#leases.size, FAILBACK_PATIENCE_MS, stop.signal, FAILBACK_LOOK_MS)
    } catch {
      return
    }
    if (this.#failback !== stop) return
    this.#failback = undefined
    if (this.#isClosed || this.current !== node || this.#elected() === node) return
    const error = new ConnectionLostError(node.name, `the writer changes back to ${this.#result.writer ?? 'none'}`)
    this.#leave(node, error, this.#options.drainTimeoutMs)
  }

  /** Nothing new starts on `node`; what runs has `drainMs` to finish and is cut then. */
  #leave(node: Node, error: ConnectionLostError, drainMs: number): void {
    this.#failback?.abort()
    this.#failback = undefined
    const since = node.state === 'down' ? node.suspectSince : now()
    const serverId = this.#state.value === 'serving' ? this.#state.serverId : undefined
    this.#previous = { node, serverId, cause: error, since, detectedMs: now() - since }
    node.setWriter(false)
    this.#followed = undefined
    const stop = new AbortController()
    this.#state = { value: 'leaving', node, stop }
    // A planned change is an outage only when it does not end in a moment.
    if (node.state === 'down') this.#listener.onLost(error)
    void this.#drain(error, drainMs, stop)
  }

  async #drain(error: Error, drainMs: number, stop: AbortController): Promise<void> {
    try {
      if (drainMs > 0) await releasedWithin(() => this.#leases.size, drainMs, stop.signal)
    } catch {
      // The node died while its work was finishing: go on at once.
    }
    for (const lease of this.#leases) lease.cut(error)
    if (this.#state.value !== 'leaving' || this.#isClosed) return
    this.#state = { value: 'none' }
    this.evaluate()
  }

  #promoteElected(): void {
    const node = this.#elected()
    if (node === undefined) {
      this.#listener.onLost(this.#previous?.cause ?? new Error(this.#result.reason))
      return
    }
    const stop = new AbortController()
    this.#state = { value: 'promoting', node, stop }
    void this.#promote(node, stop)
  }

  async #promote(node: Node, stop: AbortController): Promise<void> {
    const isMade = await this.#makeCurrent(node, stop.signal)
    const isCurrent = this.#state.value === 'promoting' && this.#state.stop === stop
    if (!isMade || !isCurrent || this.#isClosed) return
    this.#state = { value: 'serving', node, serverId: node.serverId }
    if (this.#followed === null) this.#followed = node
    node.setWriter(true)
    this.#listener.onServing(node, this.#failover(node))
  }

  /** Tries until it succeeds; an election that chooses another node ends it. */
  async #makeCurrent(node: Node, signal: AbortSignal): Promise<boolean> {
    try {
      for (let attempt = 1; ; attempt += 1) {
        const error = await this.#prepare(node, signal)
        if (signal.aborted) return false
        if (error === undefined) return true
        node.noteFailure(error)
        this.#listener.onLost(error)
        await sleep(backoffDelay(attempt, PROMOTION_BACKOFF), signal)
      }
    } catch {
      return false
    }
  }

  /** Makes the node current, and sure that connections to it can be had. Resolves to what is in the way. */
  async #prepare(node: Node, signal: AbortSignal): Promise<Error | undefined> {
    const { serverId } = node
    try {
      await node.causalRead({ timeoutMs: CAUSAL_READ_LIMIT_MS, signal })
      const error = await node.pool.warm()
      if (error !== undefined || node.serverId === serverId) return error
      return new ConnectionLostError(node.name, 'another server answered while it was being made the writer')
    } catch (error) {
      return toError(error)
    }
  }

  #failover(node: Node): FailoverEvent | undefined {
    const previous = this.#previous
    this.#previous = undefined
    // The same host may lead to another server: that is a failover behind its address.
    if (previous === undefined || (previous.node === node && previous.serverId === node.serverId)) return undefined
    return {
      from: previous.node.name,
      to: node.name,
      cause: previous.cause,
      detectedMs: previous.detectedMs,
      elapsedMs: now() - previous.since,
    }
  }
}

function toCandidate(node: Node, isWrittenTo: boolean): Candidate {
  return {
    name: node.name,
    priority: node.priority,
    isFit: node.unfitFor('write') === undefined,
    report: node.report,
    askedAt: node.askedAt,
    viewSeenAt: node.viewSeenAt,
    ageMs: node.ageMs,
    requiredAgeMs: node.requiredAgeMs,
    isWrittenTo,
  }
}
