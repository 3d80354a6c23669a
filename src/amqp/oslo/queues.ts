import { randomUUID } from 'node:crypto'
import type { ResolvedOsloOptions } from './options.js'

/** An exchange as its users declare it. @internal */
export interface ExchangeSpec {
  readonly name: string
  readonly type: 'topic' | 'fanout'
  readonly durable: boolean
  readonly autoDelete: boolean
}

/** A queue with its binding, as its users declare it. @internal */
export interface QueueSpec {
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly arguments: Readonly<Record<string, unknown>>
  /** None for a queue that is reached by the default exchange. */
  readonly bindings: readonly BindingSpec[]
}

/** Which messages of an exchange a queue gets. @internal */
export interface BindingSpec {
  readonly exchange: ExchangeSpec
  readonly routingKey: string
}

/** An identifier as oslo.messaging makes them: 32 hexadecimal digits. @internal */
export function newId(): string {
  const id = randomUUID()
  return id.slice(0, 8) + id.slice(9, 13) + id.slice(14, 18) + id.slice(19, 23) + id.slice(24)
}

/** The exchange of a topic. @internal */
export function topicExchange(options: ResolvedOsloOptions, name: string | undefined): ExchangeSpec {
  return {
    name: name ?? options.controlExchange,
    type: 'topic',
    durable: options.amqpDurableQueues || options.rabbitQuorumQueue,
    autoDelete: options.amqpAutoDelete,
  }
}

/** The exchange that reaches every server of a topic. @internal */
export function fanoutExchange(options: ResolvedOsloOptions, topic: string): ExchangeSpec {
  return {
    name: `${topic}_fanout`,
    type: 'fanout',
    durable: options.rabbitTransientQuorumQueue || options.rabbitStreamFanout,
    autoDelete: true,
  }
}

/** A queue that is shared: of a topic, of one server, of notifications. It is named after its routing key. @internal */
export function sharedQueue(options: ResolvedOsloOptions, exchange: ExchangeSpec, routingKey: string): QueueSpec {
  return pooledQueue(options, routingKey, [{ exchange, routingKey }])
}

/** A queue that a pool of listeners shares. @internal */
export function pooledQueue(options: ResolvedOsloOptions, name: string, bindings: readonly BindingSpec[]): QueueSpec {
  return {
    name,
    durable: options.amqpDurableQueues || options.rabbitQuorumQueue,
    autoDelete: options.amqpAutoDelete,
    arguments: options.rabbitQuorumQueue ? quorumArguments(options) : {},
    bindings,
  }
}

/**
 * The queue by which a server gets what goes to all servers of the topic: one of its own, or the stream that all of them
 * read. @internal
 */
export function fanoutQueue(options: ResolvedOsloOptions, topic: string): QueueSpec {
  const exchange = fanoutExchange(options, topic)
  const bindings = [{ exchange, routingKey: topic }]
  if (!options.rabbitStreamFanout) return ownQueue(options, `${topic}_fanout_${newId()}`, bindings)
  const ttl = options.rabbitTransientQueuesTtlMs
  const maxAge = ttl === 0 ? {} : { 'x-max-age': `${Math.ceil(ttl / 1000)}s` }
  return {
    name: exchange.name,
    durable: true,
    autoDelete: false,
    arguments: { 'x-queue-type': 'stream', ...maxAge },
    bindings,
  }
}

/** True for a queue whose messages every consumer gets. @internal */
export function isStream(spec: QueueSpec): boolean {
  return spec.arguments['x-queue-type'] === 'stream'
}

/** The queue for the replies to this process. @internal */
export function replyQueue(options: ResolvedOsloOptions): QueueSpec {
  return ownQueue(options, `reply_${newId()}`, [])
}

const LEADER_IS_LOCAL = Object.freeze({ 'x-queue-leader-locator': 'client-local' })

/** Our own queues are replicated: one that dies with its node takes the replies along. */
function ownQueue(options: ResolvedOsloOptions, name: string, bindings: readonly BindingSpec[]): QueueSpec {
  const ttl = options.rabbitTransientQueuesTtlMs
  return {
    name,
    durable: true,
    autoDelete: false,
    arguments: { ...quorumArguments(options), ...LEADER_IS_LOCAL, ...(ttl === 0 ? {} : { 'x-expires': ttl }) },
    bindings,
  }
}

function quorumArguments({ rabbitQuorumDeliveryLimit: limit }: ResolvedOsloOptions): Record<string, unknown> {
  return { 'x-queue-type': 'quorum', ...(limit === 0 ? {} : { 'x-delivery-limit': limit }) }
}
