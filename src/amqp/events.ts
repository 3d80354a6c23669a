import type { CommonEvents } from '../core/events.js'
import type { ConnectionRole } from './connection.js'
import type { AccessRefusedError } from './errors.js'

/** The broker takes no messages from a connection, for want of memory or disk, or takes them again. */
export interface BlockedEvent {
  /** `host:port`. */
  readonly host: string
  readonly role: ConnectionRole
  /** What the broker says; `undefined` when it takes messages again. */
  readonly reason: string | undefined
}

/** A host refuses the login or the virtual host; it is passed over while another one works, and tried again slowly. */
export interface RefusedEvent {
  /** `host:port`. */
  readonly host: string
  readonly vhost: string
  readonly error: AccessRefusedError
}

/**
 * Something could not be declared again after a reconnect; everything else was. Or RPC and notifications found an exchange
 * or a queue with other properties than their options say, and use it as it is.
 */
export interface TopologyErrorEvent {
  /** `host:port`. */
  readonly host: string
  /** What it is about: `queue 'audit'`. */
  readonly what: string
  readonly error: Error
}

/** The events of a transport. */
export interface AmqpEvents extends CommonEvents {
  blocked: [BlockedEvent]
  unblocked: [BlockedEvent]
  refused: [RefusedEvent]
  topologyError: [TopologyErrorEvent]
}
