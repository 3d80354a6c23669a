import type { AvailabilityStatus } from '../core/availability.js'
import type { ClientState } from '../core/client.js'
import { HEDGE_MS, type ConnectionStatus } from './connection.js'
import type { ConsumerStatus } from './consumer.js'
import type { TransportCounters } from './counters.js'
import type { HostStatus } from './hosts.js'
import { PROBE_MS, STALL_MS, TICK_MS } from './liveness.js'
import type { ResolvedTransportOptions } from './options.js'

/** A frozen snapshot of a transport. */
export interface TransportStatus {
  readonly state: ClientState
  readonly vhost: string
  /** The connection that publishes, the one that consumes, and the one that stands by, if there is one. */
  readonly connections: {
    readonly publisher: ConnectionStatus
    readonly consumer: ConnectionStatus
    readonly standby: ConnectionStatus | undefined
  }
  readonly hosts: readonly HostStatus[]
  /** Messages that were published and have no verdict yet, and how many more wait for room (`overflow: 'wait'`). */
  readonly outbox: { readonly messages: number; readonly bytes: number; readonly waiting: number }
  readonly counters: TransportCounters
  readonly consumers: readonly ConsumerStatus[]
  readonly availability: AvailabilityStatus
  /**
   * The longest that a `publish` is expected to be held, in milliseconds, when the node in use crashes, freezes or is cut
   * off and another one works. The cluster's own pause (election of a queue's new leader) comes on top.
   */
  readonly maxFailoverMs: number
}

/** What a new connection takes on a healthy network, channels included. */
const CONNECT_ALLOWANCE_MS = 250

/** {@link TransportStatus.maxFailoverMs} of these options. @internal */
export function maxFailoverMs({ hosts, reconnectSplayMs, retryIntervalMs }: ResolvedTransportOptions): number {
  const detection = STALL_MS + TICK_MS + PROBE_MS
  // With one host, the only way back is a new round; with more, one further host may be silent for another reason.
  const search = hosts.length === 1 ? retryIntervalMs : HEDGE_MS
  return detection + reconnectSplayMs + search + CONNECT_ALLOWANCE_MS
}
