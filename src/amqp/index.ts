export { createTransport, type AmqpTransport } from './transport.js'
export type { TransportOptions } from './options.js'
export type { PublishOptions } from './letter.js'
export type { Subscription } from './subscription.js'
export type { Binding, ExchangeType } from './topology.js'
export type { MessageHandler } from './deliveries.js'
export type { Consumer, ConsumerState, ConsumerStatus } from './consumer.js'
export type { Message } from './message.js'
export { BackpressureError, PublishOutcomeUnknownError, PublishRefusedError, UnroutableError } from './errors.js'
export type { TransportStatus } from './status.js'
export type { TransportCounters } from './counters.js'
export type { ConnectionRole, ConnectionStatus } from './connection.js'
export type { HostStatus } from './hosts.js'
export {
  ClosedError,
  ConnectError,
  ConnectionLostError,
  HAError,
  InvalidOptionError,
  isHAError,
  NoEndpointError,
  TimeoutError,
  type HAErrorCode,
  type TimeoutPhase,
} from '../core/errors.js'
export type { AvailabilityStatus } from '../core/availability.js'
export type { Client, ClientState } from '../core/client.js'
export type { Endpoint } from '../core/endpoint.js'
export type { Environment } from '../core/environment.js'
export type {
  CommonEvents,
  EventMap,
  EventSource,
  FailoverEvent,
  HostEvent,
  OutageEndEvent,
  OutageStartEvent,
} from '../core/events.js'
export type { CommonOptions } from '../core/options.js'
export type { WaitOptions } from '../core/time-limit.js'
