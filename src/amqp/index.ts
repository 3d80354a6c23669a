/**
 * A RabbitMQ transport over several hosts, modelled on oslo.messaging: confirmed publishing, acknowledged consuming.
 *
 * ```ts
 * import { createTransport } from 'openstack-ha/amqp'
 *
 * const transport = createTransport({ url: 'rabbit://nova:secret@mq1,nova:secret@mq2/' })
 * await transport.publish('', 'audit', { id: 'vm-1' }, { timeoutMs: 5000 })
 * ```
 *
 * @module
 */
export { createTransport, type AmqpTransport } from './transport.js'
export type { TransportOptions } from './options.js'
export type { PublishOptions } from './letter.js'
export type { Subscription } from './subscription.js'
export type { QueueType } from './queue-kind.js'
export type { StreamOffset } from './stream-position.js'
export type { Failure, FailurePolicy } from './failures.js'
export type { Binding } from './topology.js'
export type { Arguments, Declarations, Exchange, ExchangeType, Queue, TopologyBinding } from './declaration.js'
export type { AmqplibChannel, AmqplibConfirmChannel } from './driver.js'
export type { ChannelOptions, RawChannel } from './with-channel.js'
export type { Credentials, CredentialsFunction } from './credentials.js'
export type { TlsOptions } from '../core/tls.js'
export type { AmqpEvents, BlockedEvent, RefusedEvent, TopologyErrorEvent } from './events.js'
export type { MessageHandler } from './deliveries.js'
export type { Consumer, ConsumerState, ConsumerStatus } from './consumer.js'
export type { Message } from './message.js'
export {
  AccessRefusedError,
  BackpressureError,
  MessageTooLargeError,
  PublishOutcomeUnknownError,
  PublishRefusedError,
  QueueKindError,
  UnroutableError,
} from './errors.js'
export type { TransportStatus } from './status.js'
export type { TransportCounters } from './counters.js'
export type { ConnectionRole, ConnectionStatus } from './connection.js'
export type { HostStatus } from './hosts.js'
export * from './oslo/index.js'
export * from '../core/public.js'
