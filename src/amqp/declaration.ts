import { InvalidOptionError } from '../core/errors.js'

/** Kind of an exchange. */
export type ExchangeType = 'direct' | 'topic' | 'fanout' | 'headers'

/** Arguments of an exchange, a queue or a binding, such as `x-max-length`. */
export type Arguments = Readonly<Record<string, unknown>>

/** An exchange to declare. */
export interface Exchange {
  readonly name: string
  readonly type: ExchangeType
  /** Whether it outlives a restart of the cluster. @default true */
  readonly durable?: boolean
  /** Whether it goes when its last binding goes. @default false */
  readonly autoDelete?: boolean
  /** Whether only other exchanges may publish to it. @default false */
  readonly internal?: boolean
  /** Exchange that gets the messages that this one can route nowhere. */
  readonly alternateExchange?: string
  readonly arguments?: Arguments
}

/** A queue to declare. One that is consumed with `consume()` need not be declared. */
export interface Queue {
  readonly name: string
  /** `quorum` and `stream` are replicated over the nodes and always durable. @default 'quorum' */
  readonly type?: 'classic' | 'quorum' | 'stream'
  /** Whether a classic queue outlives a restart of its node. @default true */
  readonly durable?: boolean
  /** Whether a classic queue goes when its last consumer goes. @default false */
  readonly autoDelete?: boolean
  /** Further arguments, such as `x-dead-letter-exchange`. */
  readonly arguments?: Arguments
}

/** Routes messages of an exchange to a queue, or to another exchange. */
export type TopologyBinding = {
  /** Where messages come from. */
  readonly exchange: string
  /** @default '' */
  readonly routingKey?: string
  /** For exchanges of the type `headers`. */
  readonly arguments?: Arguments
} & ({ readonly queue: string } | { readonly toExchange: string })

/** What `declare()` takes. Bindings may also name exchanges and queues that exist without it. */
export interface Declarations {
  readonly exchanges?: readonly Exchange[]
  readonly queues?: readonly Queue[]
  readonly bindings?: readonly TopologyBinding[]
}

/** {@link Declarations}, checked. @internal */
export type ResolvedDeclarations = Required<Declarations>

const EXCHANGE_TYPES: readonly unknown[] = ['direct', 'topic', 'fanout', 'headers']
const QUEUE_TYPES: readonly unknown[] = ['classic', 'quorum', 'stream', undefined]

/** Validates what `declare()` was given; throws `InvalidOptionError`. @internal */
export function resolveDeclarations(given: Declarations): ResolvedDeclarations {
  if (typeof given !== 'object' || (given as unknown) === null) {
    throw new InvalidOptionError('declarations', 'must be an object')
  }
  onlyKnown(given, ['exchanges', 'queues', 'bindings'])
  return Object.freeze({
    exchanges: each('exchanges', given.exchanges, checkExchange),
    queues: each('queues', given.queues, checkQueue),
    bindings: each('bindings', given.bindings, checkBinding),
  })
}

function each<T extends object>(option: string, list: readonly T[] = [], check: (one: T) => void): readonly T[] {
  if (!Array.isArray(list)) throw new InvalidOptionError(option, 'must be a list')
  return Object.freeze(
    list.map((one: T) => {
      if (typeof one !== 'object' || (one as unknown) === null)
        throw new InvalidOptionError(option, 'must list objects')
      check(one)
      return Object.freeze({ ...one })
    }),
  )
}

function checkExchange(exchange: Exchange): void {
  onlyKnown(exchange, ['name', 'type', 'durable', 'autoDelete', 'internal', 'alternateExchange', 'arguments'])
  checkName('exchanges', exchange.name)
  if (!EXCHANGE_TYPES.includes(exchange.type)) {
    throw new InvalidOptionError('exchanges', "must have a type of 'direct', 'topic', 'fanout', 'headers'")
  }
  if (exchange.alternateExchange !== undefined) checkName('exchanges', exchange.alternateExchange)
}

function checkQueue(queue: Queue): void {
  onlyKnown(queue, ['name', 'type', 'durable', 'autoDelete', 'arguments'])
  checkName('queues', queue.name)
  if (!QUEUE_TYPES.includes(queue.type)) {
    throw new InvalidOptionError('queues', "must have a type of 'classic', 'quorum', 'stream'")
  }
  if (queue.type !== 'classic' && (queue.durable === false || queue.autoDelete === true)) {
    throw new InvalidOptionError('queues', 'must be durable, and not autoDelete, unless their type is classic')
  }
}

function checkBinding(binding: TopologyBinding): void {
  onlyKnown(binding, ['exchange', 'queue', 'toExchange', 'routingKey', 'arguments'])
  checkName('bindings', binding.exchange)
  if ('queue' in binding === 'toExchange' in binding) {
    throw new InvalidOptionError('bindings', 'must have either a queue or toExchange')
  }
  checkName('bindings', 'queue' in binding ? binding.queue : binding.toExchange)
}

function checkName(option: string, name: unknown): void {
  if (typeof name === 'string' && name !== '' && Buffer.byteLength(name) <= 255) return
  throw new InvalidOptionError(option, 'must have names of 1 to 255 bytes')
}

function onlyKnown(given: object, known: readonly string[]): void {
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && !known.includes(name)) throw new InvalidOptionError(name, 'is unknown')
  }
}
