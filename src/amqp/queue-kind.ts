import { randomUUID } from 'node:crypto'
import { InvalidOptionError } from '../core/errors.js'
import type { Subscription } from './subscription.js'
import type { Binding, ExchangeType, QueueDeclaration } from './topology.js'

/** Kind of a queue: see `Subscription.type`. */
export type QueueType = 'classic' | 'quorum' | 'stream' | 'exclusive'

/** What a kind of queue is to the broker. */
interface Kind {
  readonly type: 'classic' | 'quorum' | 'stream'
  readonly isExclusive: boolean
  readonly mayBeTransient: boolean
  readonly isDurable: boolean
}

const REPLICATED = { isExclusive: false, mayBeTransient: false, isDurable: true } as const
const KINDS: Readonly<Record<QueueType, Kind>> = {
  classic: { type: 'classic', isExclusive: false, mayBeTransient: true, isDurable: true },
  quorum: { type: 'quorum', ...REPLICATED },
  stream: { type: 'stream', ...REPLICATED },
  exclusive: { type: 'classic', isExclusive: true, mayBeTransient: true, isDurable: false },
}

const EXCHANGE_TYPES: readonly unknown[] = ['direct', 'topic', 'fanout', 'headers', undefined]

/** The queue that a subscription asks for; throws `InvalidOptionError` for one that cannot be. @internal */
export function resolveDeclaration(given: Subscription, type: QueueType): QueueDeclaration {
  if (!Object.hasOwn(KINDS, type)) {
    throw new InvalidOptionError('type', "must be one of 'classic', 'quorum', 'stream', 'exclusive'")
  }
  const kind = KINDS[type]
  const { durable = kind.isDurable, autoDelete = false, singleActiveConsumer = false, bindings = [] } = given
  const queue = given.queue ?? (kind.isExclusive ? `openstack-ha.${randomUUID()}` : given.queue)
  checkName('queue', queue)
  if (!kind.mayBeTransient && !durable) throw new InvalidOptionError('durable', `must be true for a ${type} queue`)
  if (!kind.mayBeTransient && autoDelete)
    throw new InvalidOptionError('autoDelete', `must be false for a ${type} queue`)
  if (type === 'stream' && singleActiveConsumer) {
    throw new InvalidOptionError('singleActiveConsumer', 'is not for streams')
  }
  if (type === 'exclusive' && given.passive === true) {
    throw new InvalidOptionError('passive', 'must be false for an exclusive queue')
  }
  if (!Array.isArray(bindings)) throw new InvalidOptionError('bindings', 'must be a list')
  return Object.freeze({
    queue,
    isDurable: durable,
    isExclusive: kind.isExclusive,
    isAutoDelete: autoDelete,
    arguments: Object.freeze({
      ...given.arguments,
      'x-queue-type': kind.type,
      ...(singleActiveConsumer ? { 'x-single-active-consumer': true } : {}),
    }),
    bindings: Object.freeze(bindings.map((binding) => checkBinding(binding as Binding))),
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

function checkName(option: string, name: unknown): asserts name is string {
  if (typeof name === 'string' && name !== '' && Buffer.byteLength(name) <= 255) return
  throw new InvalidOptionError(option, 'must have a name of 1 to 255 bytes')
}
