import { InvalidOptionError } from '../core/errors.js'
import type { Session } from './session.js'
import type { Binding, ExchangeType, QueueDeclaration } from './topology.js'

/** What a consumer consumes and how. */
export interface Subscription {
  /** Name of the queue. It is declared when it does not exist, and made again if it is deleted. */
  readonly queue: string
  /**
   * Kind of queue. `quorum` is replicated over the nodes and always durable; a `classic` queue is away while its node
   * is. The broker refuses a kind that differs from the existing queue's (reply code 406).
   * @default 'quorum'
   */
  readonly type?: 'classic' | 'quorum'
  /** Whether a classic queue outlives a restart of its node. @default true */
  readonly durable?: boolean
  /** Further queue arguments, such as `x-dead-letter-exchange`. */
  readonly arguments?: Readonly<Record<string, unknown>>
  /** Exchanges whose messages the queue gets. */
  readonly bindings?: readonly Binding[]
  /** True for a queue that somebody else declares: it is never made or bound here. @default false */
  readonly passive?: boolean
  /** Most messages delivered and not acknowledged. @default the transport's `prefetch` */
  readonly prefetch?: number
  /** Most handlers that run at a time. @default 16, at most `prefetch` */
  readonly concurrency?: number
  /** How often a message goes back to the queue because its handler failed, before it is rejected. @default 5 */
  readonly maxRequeues?: number
  /** Pause before a failed message goes back, in milliseconds; doubled each time, 30 s at most. @default 500 */
  readonly requeueDelayMs?: number
}

/** {@link Subscription} with defaults. @internal */
export interface ResolvedSubscription {
  readonly declaration: QueueDeclaration
  readonly isPassive: boolean
  readonly prefetch: number
  readonly concurrency: number
  readonly maxRequeues: number
  readonly requeueDelayMs: number
  /** Declares the queue, when that takes more than a plain declaration. */
  readonly declare?: (session: Session) => Promise<void>
  /** Priority of the next subscription. */
  readonly nextPriority?: () => number
  /** Called at each subscription. */
  readonly onSubscribed?: () => void
}

const KNOWN = new Set([
  ...['queue', 'type', 'durable', 'arguments', 'bindings', 'passive'],
  ...['prefetch', 'concurrency', 'maxRequeues', 'requeueDelayMs'],
])
const DEFAULT_CONCURRENCY = 16
const EXCHANGE_TYPES: readonly unknown[] = ['direct', 'topic', 'fanout', 'headers', undefined]

/** Validates a subscription; throws `InvalidOptionError`. @internal */
export function resolveSubscription(given: Subscription, defaultPrefetch: number): ResolvedSubscription {
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && !KNOWN.has(name)) throw new InvalidOptionError(name, 'is unknown')
  }
  const { queue, type = 'quorum', durable = true, bindings = [], passive = false } = given
  checkName('queue', queue)
  if (!['classic', 'quorum'].includes(type)) throw new InvalidOptionError('type', "must be one of 'classic', 'quorum'")
  if (type === 'quorum' && !durable) throw new InvalidOptionError('durable', 'must be true for a quorum queue')
  if (!Array.isArray(bindings)) throw new InvalidOptionError('bindings', 'must be a list')
  const prefetch = integer('prefetch', given.prefetch, defaultPrefetch, 1, 65_535)
  return Object.freeze({
    declaration: Object.freeze({
      queue,
      isDurable: durable,
      arguments: Object.freeze({ ...given.arguments, 'x-queue-type': type }),
      bindings: Object.freeze(bindings.map((binding) => checkBinding(binding as Binding))),
    }),
    isPassive: passive,
    prefetch,
    concurrency: Math.min(prefetch, integer('concurrency', given.concurrency, DEFAULT_CONCURRENCY, 1, 65_535)),
    maxRequeues: integer('maxRequeues', given.maxRequeues, 5, 0, 1000),
    requeueDelayMs: integer('requeueDelayMs', given.requeueDelayMs, 500, 0, 3_600_000),
  })
}

/** Throws unless `type` is a type of exchange or absent. @internal */
export function checkExchangeType(option: string, type: unknown): ExchangeType | undefined {
  if (EXCHANGE_TYPES.includes(type)) return type as ExchangeType | undefined
  throw new InvalidOptionError(option, "must be one of 'direct', 'topic', 'fanout', 'headers'")
}

function checkBinding(binding: Binding): Binding {
  checkName('bindings', (binding as Partial<Binding> | null)?.exchange)
  checkExchangeType('bindings', binding.type)
  return Object.freeze({ ...binding })
}

function checkName(option: string, name: unknown): void {
  if (typeof name === 'string' && name !== '' && Buffer.byteLength(name) <= 255) return
  throw new InvalidOptionError(option, 'must have a name of 1 to 255 bytes')
}

function integer(option: string, given: number | undefined, fallback: number, min: number, max: number): number {
  const value = given ?? fallback
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw new InvalidOptionError(option, `must be a whole number from ${min} to ${max}`)
}
