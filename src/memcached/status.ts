import type { AvailabilityStatus } from '../core/availability.js'
import type { ClientState } from '../core/client.js'
import type { Membership } from './membership.js'
import type { CacheNode } from './node.js'
import type { NodeState } from './node-owner.js'
import type { MemcachedCounters } from './router.js'
import type { Shares } from './selector.js'

/** One node, as this client sees it. */
export interface MemcachedHostStatus {
  /** `host:port`. */
  readonly host: string
  readonly state: NodeState
  /** Wall-clock time of the last change of state, milliseconds since 1970. */
  readonly since: number
  /** The last failure, which may be over. */
  readonly lastError: Error | undefined
  /** Share of the keys that belong to it, 0 to 1, whether it is in use or not. */
  readonly share: number
  /** Share of the keys that it answers for now, with those of nodes that are out. */
  readonly presentShare: number
  /** How often it was taken out of use. */
  readonly evictionCount: number
  /** Requests that it has not answered yet. */
  readonly pendingCount: number
  /** Keys that were changed elsewhere while it was out, and that are deleted on it before it is used again. */
  readonly journalCount: number
  /** True when the journal could not hold all keys: all its old values will count as misses. */
  readonly hasJournalOverflowed: boolean
  /** True while values from before its last return count as misses. */
  readonly hasWatermark: boolean
}

/** A frozen snapshot of the client. Durations are milliseconds. */
export interface MemcachedStatus extends MemcachedCounters {
  readonly state: ClientState
  readonly hosts: readonly MemcachedHostStatus[]
  /** How often a node was taken out of use. */
  readonly evictionCount: number
  readonly availability: AvailabilityStatus
  /** The longest that a call takes until the heir of a node that has failed is asked: the operation's time limit. */
  readonly maxFailoverMs: number
}

/** What {@link clientStatus} is made of. @internal */
export interface StatusParts {
  readonly state: ClientState
  readonly membership: Membership
  readonly counters: MemcachedCounters
  readonly availability: AvailabilityStatus
  readonly maxFailoverMs: number
}

/** The snapshot of the client. @internal */
export function clientStatus({ membership, counters, ...rest }: StatusParts): MemcachedStatus {
  const shares = membership.shares()
  const hosts = membership.members.map((node) => nodeStatus(node, shares))
  return Object.freeze({ ...rest, hosts: Object.freeze(hosts), ...counters, evictionCount: membership.evictionCount })
}

function nodeStatus(node: CacheNode, shares: Shares): MemcachedHostStatus {
  return Object.freeze({
    host: node.name,
    state: node.state,
    since: node.since,
    lastError: node.lastError,
    share: shares.all[node.index] ?? 0,
    presentShare: shares.present[node.index] ?? 0,
    evictionCount: node.evictionCount,
    pendingCount: node.pending,
    journalCount: node.journal.size,
    hasJournalOverflowed: node.journal.hasOverflowed,
    hasWatermark: node.watermark > 0,
  })
}
