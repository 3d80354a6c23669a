import type { AvailabilityStatus } from '../core/availability.js'
import type { ClientState } from '../core/client.js'
import type { FenceStatus } from './fence.js'
import type { NodePoolStatus } from './node-pool.js'
import type { MysqlHostStatus } from './node-status.js'
import type { WriterStatus } from './writer.js'

/** A frozen snapshot of a pool. */
export interface MysqlPoolStatus {
  readonly state: ClientState
  readonly availability: AvailabilityStatus
  readonly writer: WriterStatus
  readonly hosts: readonly MysqlHostStatus[]
  /** Callers that wait for a connection. */
  readonly waiting: number
  /** Connections that are checked out. */
  readonly borrowed: number
  /** Verdicts of the commit fence (`exactlyOnce`). */
  readonly fence: FenceStatus
  /** The longest failover to expect from this client's settings, in milliseconds; the cluster's own pause comes on top. */
  readonly maxFailoverMs: number
}

/** The counts of all nodes in one line, for the message of a wait that ran out. @internal */
export function formatCounts(nodes: readonly NodePoolStatus[], waiting: number, transactions: number): string {
  const sum = (name: keyof NodePoolStatus): number => nodes.reduce((count, node) => count + node[name], 0)
  return (
    `total=${sum('total')} idle=${sum('idle')} borrowed=${sum('borrowed')} connecting=${sum('connecting')} ` +
    `waiting=${waiting} transactions=${transactions}`
  )
}
