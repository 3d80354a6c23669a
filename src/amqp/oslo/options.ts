import { InvalidOptionError } from '../../core/errors.js'
import type { OptionReader } from '../../core/options.js'
import type { Compression } from './compression.js'

/**
 * Options of RPC and notifications. Those about queues have to be the same as in the Python services that share a topic:
 * the broker refuses a queue or an exchange that is declared differently.
 */
export interface OsloOptions {
  /** Exchange of every topic whose target names none. @default 'openstack' */
  controlExchange?: string
  /** Time limit of a `call` that gives none. @default 60_000 */
  rpcResponseTimeoutMs?: number
  /** Exchanges and queues of topics and notifications outlive a restart of their node. @default false */
  amqpDurableQueues?: boolean
  /** Exchanges and queues of topics and notifications vanish with their last user. @default false */
  amqpAutoDelete?: boolean
  /** Queues of topics and notifications are replicated over the nodes. @default false */
  rabbitQuorumQueue?: boolean
  /** Most deliveries of a message of such a queue before it is dropped; 0 sets none. @default 0 */
  rabbitQuorumDeliveryLimit?: number
  /**
   * Exchanges for fanout are durable. This transport's own reply and fanout queues are quorum queues in any case, because
   * a transient queue dies with its node, and RabbitMQ 4.3 refuses it.
   * @default false
   */
  rabbitTransientQuorumQueue?: boolean
  /**
   * One stream for fanout that all servers of a topic read, instead of a queue for each of them. A server reads it from
   * where it ends when it begins (oslo.messaging repeats its last part). Needs `rabbitTransientQuorumQueue`, as in
   * oslo.messaging.
   * @default false
   */
  rabbitStreamFanout?: boolean
  /** How long a reply or fanout queue outlives its last user, and how long a stream for fanout keeps messages. @default 1_800_000 */
  rabbitTransientQueuesTtlMs?: number
  /** Compresses what is sent. What arrives is understood in any case. @default none */
  kombuCompression?: Compression
  /** How long a server tries to deliver a reply to a reply queue that is not there. @default 60_000 */
  missingConsumerRetryTimeoutMs?: number
  /** Servers answer the method `oslo_rpc_server_ping`. @default false */
  rpcPingEnabled?: boolean
  /** Formats in which notifications are sent. @default ['messagingv2'] */
  notificationDrivers?: readonly NotificationDriver[] | string
  /** Topics to which notifications are sent. @default ['notifications'] */
  notificationTopics?: readonly string[] | string
  /** How often a notification that failed is tried again; -1 until its time limit. @default -1 */
  notificationRetry?: number
  /**
   * Integers beyond 2^53 arrive as bigints. Otherwise the call, request or notification that has one fails with
   * `UnsafeIntegerError`, because a JavaScript number would change it.
   * @default false
   */
  bigIntegers?: boolean
}

/** Formats of notifications: `messaging` has no envelope, `noop` sends nothing. */
export type NotificationDriver = 'messaging' | 'messagingv2' | 'noop'

/** {@link OsloOptions} with every default filled in. @internal */
export interface ResolvedOsloOptions {
  readonly controlExchange: string
  readonly rpcResponseTimeoutMs: number
  readonly amqpDurableQueues: boolean
  readonly amqpAutoDelete: boolean
  readonly rabbitQuorumQueue: boolean
  readonly rabbitQuorumDeliveryLimit: number
  readonly rabbitTransientQuorumQueue: boolean
  readonly rabbitStreamFanout: boolean
  readonly rabbitTransientQueuesTtlMs: number
  readonly kombuCompression: Compression | undefined
  readonly missingConsumerRetryTimeoutMs: number
  readonly rpcPingEnabled: boolean
  readonly notificationDrivers: readonly NotificationDriver[]
  readonly notificationTopics: readonly string[]
  readonly notificationRetry: number
  readonly bigIntegers: boolean
}

/** Reads the options of RPC and notifications; throws `InvalidOptionError`. @internal */
export function readOsloOptions(reader: OptionReader): ResolvedOsloOptions {
  const resolved = {
    controlExchange: reader.string('controlExchange', 'openstack'),
    rpcResponseTimeoutMs: reader.duration('rpcResponseTimeoutMs', 60_000, { min: 1 }),
    amqpDurableQueues: reader.boolean('amqpDurableQueues', false),
    amqpAutoDelete: reader.boolean('amqpAutoDelete', false),
    rabbitQuorumQueue: reader.boolean('rabbitQuorumQueue', false),
    rabbitQuorumDeliveryLimit: reader.integer('rabbitQuorumDeliveryLimit', 0),
    rabbitTransientQuorumQueue: reader.boolean('rabbitTransientQuorumQueue', false),
    rabbitStreamFanout: reader.boolean('rabbitStreamFanout', false),
    rabbitTransientQueuesTtlMs: reader.duration('rabbitTransientQueuesTtlMs', 1_800_000),
    kombuCompression: readCompression(reader),
    missingConsumerRetryTimeoutMs: reader.duration('missingConsumerRetryTimeoutMs', 60_000),
    rpcPingEnabled: reader.boolean('rpcPingEnabled', false),
    notificationDrivers: readDrivers(reader),
    notificationTopics: readTopics(reader),
    notificationRetry: (reader.raw('notificationRetry') ?? -1) as number,
    bigIntegers: reader.boolean('bigIntegers', false),
  }
  if (resolved.rabbitStreamFanout && !resolved.rabbitTransientQuorumQueue) {
    throw reader.problem('rabbitStreamFanout', 'needs rabbitTransientQuorumQueue, too')
  }
  if (!Number.isSafeInteger(resolved.notificationRetry) || resolved.notificationRetry < -1) {
    throw reader.problem('notificationRetry', 'must be a whole number of at least -1')
  }
  return Object.freeze(resolved)
}

function readCompression(reader: OptionReader): Compression | undefined {
  const value = reader.string('kombuCompression')
  if (value === undefined || value === 'gzip') return value
  throw reader.problem('kombuCompression', "must be 'gzip' (bz2 is not in Node)")
}

const DRIVERS: readonly unknown[] = ['messaging', 'messagingv2', 'noop']

function readDrivers(reader: OptionReader): readonly NotificationDriver[] {
  const drivers = reader.list('notificationDrivers') ?? ['messagingv2']
  if (drivers.every((driver) => DRIVERS.includes(driver))) return Object.freeze([...drivers]) as NotificationDriver[]
  throw reader.problem('notificationDrivers', "must be some of 'messaging', 'messagingv2', 'noop'")
}

function readTopics(reader: OptionReader): readonly string[] {
  return checkTopics(reader.source('notificationTopics'), reader.list('notificationTopics') ?? ['notifications'])
}

/** Throws unless these are names of topics. @internal */
export function checkTopics(option: string, topics: readonly unknown[]): readonly string[] {
  if (topics.length > 0 && topics.every((topic) => typeof topic === 'string' && topic !== '')) {
    return Object.freeze([...topics] as string[])
  }
  throw new InvalidOptionError(option, 'must name at least one topic')
}
