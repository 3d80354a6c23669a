import { InvalidOptionError } from '../core/errors.js'
import type { FailurePolicy } from './failures.js'
import type { Message } from './message.js'
import { resolveDeclaration, type QueueType } from './queue-kind.js'
import type { MemoryLimits } from './queue-memory.js'
import type { Session } from './session.js'
import type { StreamOffset } from './stream-position.js'
import type { Binding, QueueDeclaration } from './topology.js'

/** What a consumer consumes and how. */
export interface Subscription {
  /**
   * Name of the queue. It is declared when it does not exist, and made again if it is deleted. It may be left out for an
   * exclusive queue, which then gets a name of its own.
   */
  readonly queue?: string
  /**
   * Kind of queue. The broker refuses a kind that differs from the existing queue's (reply code 406).
   *
   * - `quorum` is replicated over the nodes, and always durable.
   * - `classic` is on one node, and away while that node is.
   * - `stream` is a replicated log: it is read from `offset` on, messages stay in it, and every consumer gets all of them.
   *   After a reconnect reading goes on at the oldest message that was not acknowledged. A message that fails is handled
   *   again here, and passed over after `maxRequeues`.
   * - `exclusive` is a classic queue that only this transport uses and that ends with its connection: it is made anew
   *   with its bindings on each connection, and messages that come in between reach it not. Its name stays the same,
   *   unless the broker holds the old one for another 5 s (a connection that was cut off): then a suffix is added.
   *
   * @default 'quorum'
   */
  readonly type?: QueueType
  /** Whether a classic queue outlives a restart of its node. @default true, false for an exclusive queue */
  readonly durable?: boolean
  /** Whether a classic queue is deleted when its last consumer has gone. @default false */
  readonly autoDelete?: boolean
  /** Gives messages to one consumer of the queue at a time; another takes over when it goes. Not for streams. @default false */
  readonly singleActiveConsumer?: boolean
  /** Further queue arguments, such as `x-dead-letter-exchange`. */
  readonly arguments?: Readonly<Record<string, unknown>>
  /** Exchanges whose messages the queue gets. */
  readonly bindings?: readonly Binding[]
  /** True for a queue that somebody else declares: it is never made or bound here. @default false */
  readonly passive?: boolean
  /** Where the first subscription to a stream begins. @default 'next' */
  readonly offset?: StreamOffset
  /** Most messages delivered and not acknowledged. @default the transport's `prefetch` */
  readonly prefetch?: number
  /** Most handlers that run at a time. @default 16, at most `prefetch` */
  readonly concurrency?: number
  /**
   * Consumes on two hosts at a time, over the connection that stands by as well, so that messages still come when one of
   * them is lost: a new subscription may have to wait until the cluster gives a frozen host up (its `net_ticktime`, 60 s
   * by default). Each has half of `prefetch`. For quorum queues whose consumer does not have to be the only one; the order
   * of messages is not kept.
   * @default true if `concurrency` and `prefetch` are above 1
   */
  readonly redundant?: boolean
  /** Consumers of a higher priority get messages first, as long as they take them. @default 0 */
  readonly priority?: number
  /** Refuses other consumers of the queue, and is refused (reply code 403) while there are any. @default false */
  readonly exclusiveConsumer?: boolean
  /** Further arguments of the consumer, such as `x-consumer-timeout`. */
  readonly consumerArguments?: Readonly<Record<string, unknown>>
  /**
   * When a message is acknowledged: `after` its handler succeeded (delivery is at least once), or `before` its handler
   * starts (at most once: what is being handled when the process ends is lost, and failures are not repeated).
   * @default 'after'
   */
  readonly acknowledge?: 'after' | 'before'
  /**
   * What becomes of a message whose handler failed. `requeue` gives it back after a pause, and rejects it after
   * `maxRequeues`; `reject` rejects it at once; a function decides each time. While it pauses, the message takes one of
   * the `prefetch` places. A rejected message goes to the queue's dead-letter exchange, or is dropped if there is none.
   * @default 'requeue'
   */
  readonly onFailure?: 'requeue' | 'reject' | FailurePolicy
  /** How often a message goes back to the queue because its handler failed, before it is rejected. @default 5 */
  readonly maxRequeues?: number
  /** Pause before a failed message goes back, in milliseconds; doubled each time, 30 s at most. @default 500 */
  readonly requeueDelayMs?: number
  /**
   * Memory of the messages handled, by their message id, shared by the transport's consumers of the queue: of a message
   * that is redelivered or was sent again, the copies are acknowledged and handled once. A copy that comes while the first
   * is being handled waits for it; a message that failed is not remembered. This holds in one process: over all processes
   * delivery is at least once.
   * @default up to 100,000 ids, for up to 10 minutes
   */
  readonly dedupe?: false | { readonly maxIds?: number; readonly ttlMs?: number }
}

/** {@link Subscription} with defaults. @internal */
export interface ResolvedSubscription {
  readonly declaration: QueueDeclaration
  readonly type: QueueType
  readonly isPassive: boolean
  /** True when the name was made up here, so that nobody else depends on it. */
  readonly isNameless: boolean
  readonly offset: StreamOffset
  readonly prefetch: number
  readonly concurrency: number
  readonly isRedundant: boolean
  readonly consumer: {
    readonly exclusive: boolean
    readonly priority: number | undefined
    readonly arguments: Readonly<Record<string, unknown>>
  }
  readonly acknowledge: 'after' | 'before'
  readonly onFailure: 'requeue' | 'reject' | FailurePolicy
  readonly maxRequeues: number
  readonly requeueDelayMs: number
  readonly dedupe: MemoryLimits | undefined
  /** True to acknowledge within milliseconds, many at once: a copy of what was not acknowledged does no harm. */
  readonly acknowledgesLate?: boolean
  /** Declares the queue, when that takes more than a plain declaration. */
  readonly declare?: (session: Session) => Promise<void>
  /** Priority of the next subscription. */
  readonly nextPriority?: () => number
  /** Called at each subscription. */
  readonly onSubscribed?: () => void
  /** Called when a subscription has ended, in the same turn. */
  readonly onUnsubscribed?: () => void
  /**
   * True for a message that is rejected instead of being handled, before anything is acknowledged: another delivery of what
   * cannot be read would fare no better. Asked when it is the message's turn.
   */
  readonly refuses?: (message: Message) => boolean
}

const KNOWN = new Set([
  ...['queue', 'type', 'durable', 'autoDelete', 'singleActiveConsumer', 'arguments', 'bindings', 'passive', 'offset'],
  ...['prefetch', 'concurrency', 'redundant', 'priority', 'exclusiveConsumer', 'consumerArguments', 'acknowledge'],
  ...['onFailure', 'maxRequeues', 'requeueDelayMs', 'dedupe'],
])
const DEFAULT_CONCURRENCY = 16

/** Validates a subscription; throws `InvalidOptionError`. @internal */
export function resolveSubscription(given: Subscription, defaultPrefetch: number): ResolvedSubscription {
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && !KNOWN.has(name)) throw new InvalidOptionError(name, 'is unknown')
  }
  const { type = 'quorum', passive = false, acknowledge = 'after', exclusiveConsumer = false, priority } = given
  const declaration = resolveDeclaration(given, type)
  if (!['after', 'before'].includes(acknowledge)) {
    throw new InvalidOptionError('acknowledge', "must be one of 'after', 'before'")
  }
  const prefetch = integer('prefetch', given.prefetch, defaultPrefetch, 1, 65_535)
  const concurrency = Math.min(prefetch, integer('concurrency', given.concurrency, DEFAULT_CONCURRENCY, 1, 65_535))
  return Object.freeze({
    declaration,
    type,
    isPassive: passive,
    isNameless: given.queue === undefined,
    offset: resolveOffset(given.offset, type),
    prefetch,
    concurrency,
    isRedundant: resolveRedundant(given, { type, declaration, prefetch, concurrency }),
    consumer: Object.freeze({
      exclusive: exclusiveConsumer,
      priority: priority === undefined ? undefined : integer('priority', priority, 0, -2_147_483_648, 2_147_483_647),
      arguments: Object.freeze({ ...given.consumerArguments }),
    }),
    acknowledge,
    onFailure: resolveOnFailure(given.onFailure),
    maxRequeues: integer('maxRequeues', given.maxRequeues, 5, 0, 1000),
    requeueDelayMs: integer('requeueDelayMs', given.requeueDelayMs, 500, 0, 3_600_000),
    dedupe: resolveDedupe(given.dedupe),
  })
}

function resolveRedundant(
  { redundant, exclusiveConsumer = false }: Subscription,
  resolved: Pick<ResolvedSubscription, 'type' | 'declaration' | 'prefetch' | 'concurrency'>,
): boolean {
  const { type, declaration, prefetch, concurrency } = resolved
  const isShared = !exclusiveConsumer && declaration.arguments['x-single-active-consumer'] !== true
  const isPossible = type === 'quorum' && isShared && prefetch > 1
  if (redundant === true && !isPossible) {
    throw new InvalidOptionError('redundant', 'is for quorum queues that consumers share, with a prefetch above 1')
  }
  return redundant ?? (isPossible && concurrency > 1)
}

function resolveOffset(offset: StreamOffset | undefined, type: QueueType): StreamOffset {
  if (offset === undefined) return 'next'
  if (type !== 'stream') throw new InvalidOptionError('offset', "is for queues of the type 'stream'")
  const isNumber = typeof offset === 'number' && Number.isSafeInteger(offset) && offset >= 0
  const isTime = offset instanceof Date && !Number.isNaN(offset.getTime())
  if (isNumber || isTime || ['first', 'last', 'next'].includes(offset as string)) return offset
  throw new InvalidOptionError('offset', "must be 'first', 'last', 'next', an offset or a Date")
}

function resolveOnFailure(onFailure: Subscription['onFailure'] = 'requeue'): 'requeue' | 'reject' | FailurePolicy {
  if (onFailure === 'requeue' || onFailure === 'reject' || typeof onFailure === 'function') return onFailure
  throw new InvalidOptionError('onFailure', "must be 'requeue', 'reject' or a function")
}

function resolveDedupe(dedupe: Subscription['dedupe'] = {}): MemoryLimits | undefined {
  if (dedupe === false) return undefined
  if (typeof (dedupe as unknown) !== 'object') throw new InvalidOptionError('dedupe', 'must be false or an object')
  return Object.freeze({
    maxIds: integer('dedupe.maxIds', dedupe.maxIds, 100_000, 1, 10_000_000),
    ttlMs: integer('dedupe.ttlMs', dedupe.ttlMs, 600_000, 1, 86_400_000),
  })
}

function integer(option: string, given: number | undefined, fallback: number, min: number, max: number): number {
  const value = given ?? fallback
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw new InvalidOptionError(option, `must be a whole number from ${min} to ${max}`)
}
