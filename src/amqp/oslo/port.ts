import type { WaitOptions } from '../../core/time-limit.js'
import type { Consumer } from '../consumer.js'
import type { MessageHandler } from '../deliveries.js'
import type { Letter, Wait } from '../entry.js'
import type { Session } from '../session.js'
import type { ResolvedSubscription } from '../subscription.js'
import type { OnMismatch } from './declarer.js'
import type { ResolvedOsloOptions } from './options.js'

/** What RPC and notifications get from the transport. @internal */
export interface TransportPort {
  readonly options: ResolvedOsloOptions
  readonly publishTimeoutMs: number
  readonly prefetch: number
  /** How much may wait to be sent. */
  readonly outbox: { readonly maxMessages: number; readonly maxBytes: number }
  /** Throws `ClosedError` unless new work is welcome. */
  readonly assertOpen: () => void
  readonly publish: (letter: Letter, wait: Wait) => Promise<void>
  /** The connection that publishes, as soon as there is one. */
  readonly session: (signal: AbortSignal) => Promise<Session>
  /** A connection to another host than that of `session`, for the caller to close, if one answers. */
  readonly sessionBeside: (session: Session, signal: AbortSignal) => Promise<Session | undefined>
  readonly consume: (
    subscription: ResolvedSubscription,
    handler: MessageHandler,
    wait: WaitOptions,
  ) => Promise<Consumer>
  readonly onMismatch: OnMismatch
}
