/** What every entry of the package exports beside its own. */
export { Client, type ClientState } from './client.js'
export type { AvailabilityStatus } from './availability.js'
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
} from './errors.js'
export { EventSource } from './events.js'
export type { CommonEvents, EventMap, FailoverEvent, HostEvent, OutageEndEvent, OutageStartEvent } from './events.js'
export type { Environment } from './environment.js'
export type { CommonOptions } from './options.js'
export type { Endpoint } from './endpoint.js'
export type { WaitOptions } from './time-limit.js'
