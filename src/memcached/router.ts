import { NoEndpointError } from '../core/errors.js'
import { Deferred } from '../core/timing.js'
import type { Call } from './calls.js'
import { ControlOperation } from './control.js'
import type { Membership } from './membership.js'
import type { CacheNode } from './node.js'
import type { RejoinPolicy } from './options.js'
import type { TransportFailure } from './transport.js'

/** Nodes that may be silent within one call that has no time limit of its own. @internal */
export const MAX_SILENT_NODES = 3
const NONE: readonly CacheNode[] = Object.freeze([])

/** Counted since the client was made. */
export interface MemcachedCounters {
  readonly hitCount: number
  readonly missCount: number
  /** Requests that moved to an heir because the node that was asked failed. */
  readonly hopCount: number
  /** Values that were treated as misses because a newer one may have been written elsewhere. */
  readonly staleRefusedCount: number
}

/**
 * Brings each call to the node that answers for its key, and on to the heir when that node fails.
 *
 * Invariants. A node that is out gets no call. Whatever is changed, or read, on an heir is noted for every node that
 * would have been asked before it, in the turn in which the call is sent.
 * @internal
 */
export class Router {
  readonly #membership: Membership
  readonly #policy: RejoinPolicy
  readonly counters: { -readonly [K in keyof MemcachedCounters]: number } = {
    hitCount: 0,
    missCount: 0,
    hopCount: 0,
    staleRefusedCount: 0,
  }
  #activeCount = 0
  #idle: Deferred<undefined> | undefined
  #closedBy: Error | undefined

  constructor(membership: Membership, policy: RejoinPolicy) {
    this.#membership = membership
    this.#policy = policy
  }

  /** Starts a call. */
  begin(call: Call): void {
    this.#activeCount += 1
    this.#send(call)
  }

  /** Goes on with a call that was part of a request that failed. */
  takeOver(call: Call, node: CacheNode, failure: TransportFailure): void {
    this.#activeCount += 1
    call.node = node
    call.attemptCount = 1
    this.failed(call, failure)
  }

  /** The node that every key belongs to, whatever its hash: where there is one, with one connection, and it is in use. */
  get only(): CacheNode | undefined {
    const { ring, nodes } = this.#membership
    const [node] = nodes
    return nodes.length === 1 && ring.outCount === 0 && node?.hasOnePlace === true ? node : undefined
  }

  /** The node that a key belongs to, if that is the one to ask for it now. */
  home(hash: number, key: string): CacheNode | undefined {
    const { ring, nodes } = this.#membership
    if (ring.outCount > 0 && this.#membership.passedOver(hash, key).length > 0) return undefined
    return nodes[ring.owner(hash, key)]
  }

  /** Something has begun that `close()` waits for; it tells by `ended`. */
  began(): void {
    this.#activeCount += 1
  }

  /** A call has ended; each tells once. */
  ended(): void {
    this.#activeCount -= 1
    if (this.#activeCount === 0) this.#idle?.resolve(undefined)
  }

  /** Resolves when no call runs. */
  whenIdle(): Promise<void> {
    this.#idle ??= new Deferred()
    if (this.#activeCount === 0) this.#idle.resolve(undefined)
    return this.#idle.promise
  }

  /** From now on, calls that fail reject with `error` and do not move on. */
  close(error: Error): void {
    this.#closedBy = error
  }

  /** The node that a call was sent to failed: the next one is asked, within bounds. */
  failed(call: Call, failure: TransportFailure): void {
    if (failure.kind === 'silent') call.silentCount += 1
    const isOver =
      call.isAbandoned ||
      call.attemptCount > this.#membership.nodes.length ||
      (!call.hasOwnLimit && call.silentCount >= MAX_SILENT_NODES)
    if (this.#closedBy !== undefined || isOver) {
      call.reject(this.#closedBy ?? failure.error)
      return
    }
    this.counters.hopCount += 1
    this.#send(call)
  }

  /**
   * Whether a value that a get found may be given to the caller: on its own node it must be younger than the node's
   * watermark; on an heir, than the absence of every node before it, all of which must still be absent.
   */
  isFresh(call: Call, cas: number): boolean {
    const node = call.node
    if (node === undefined || !call.wantsCas) return true
    if (call.passedOver.length === 0) return cas > node.watermark
    if (!node.hasStoredSince(cas, call.passedOver)) return false
    return call.ringVersion === this.#membership.ring.version || this.#isStillOwner(call)
  }

  /** What is known to exist on an heir must not be answered by an older copy when its own node is back. */
  noteHeirRead(call: Call): void {
    for (const node of call.passedOver) node.journal.add(call.key)
  }

  /**
   * Gives back the right to load that a server has given to a read of another kind: it gives it to the first that finds
   * a value that was loaded in vain, and to nobody else until the value's end.
   */
  giveBack({ node, key, hash }: Call): void {
    const ignore = (): void => undefined
    node?.submit(new ControlOperation({ kind: 'revoke', key, hash }, ignore, ignore))
  }

  /** `safeToRetry` is false for a call that a node got before it failed. */
  noEndpoint(safeToRetry = true): NoEndpointError {
    const errors = this.#membership.members.flatMap((node) => (node.lastError === undefined ? [] : [node.lastError]))
    return new NoEndpointError('no memcached node is usable', errors, safeToRetry)
  }

  /** The next request of a call that takes several: to the same node, unless the nodes have changed meanwhile. */
  again(call: Call): void {
    if (this.#closedBy !== undefined || call.isAbandoned) {
      call.reject(this.#closedBy ?? new Error('nobody waits for it any more'))
      return
    }
    if (call.ringVersion === this.#membership.ring.version) {
      // Once more: what was noted may have been dealt with since, before the node has changed anything.
      noteChange(call)
      call.node?.submit(call)
    } else if (call.attemptCount > this.#membership.nodes.length) call.reject(this.noEndpoint(false))
    else this.#send(call)
  }

  #send(call: Call): void {
    if (this.#closedBy !== undefined) {
      call.reject(this.#closedBy)
      return
    }
    const { ring, nodes } = this.#membership
    const node = nodes[ring.owner(call.hash, call.key)]
    if (node === undefined) {
      call.reject(this.noEndpoint(call.attemptCount === 0))
      return
    }
    call.node = node
    call.attemptCount += 1
    call.passedOver =
      ring.outCount === 0 || this.#policy === 'trust' ? NONE : this.#membership.passedOver(call.hash, call.key)
    call.ringVersion = ring.version
    noteChange(call)
    if (call.prepare(call.passedOver.length > 0 || node.watermark > 0)) node.submit(call)
  }

  /** True when the same nodes are passed over now; that the absence is the same is what the marks tell. */
  #isStillOwner(call: Call): boolean {
    const out = this.#membership.passedOver(call.hash, call.key)
    return out.length === call.passedOver.length && out.every((node, i) => node === call.passedOver[i])
  }
}

/** What may be changed on an heir is old on every node that would have been asked before it. */
function noteChange({ kind, key, passedOver }: Call): void {
  if (kind !== 'get') for (const node of passedOver) node.journal.add(key)
}
