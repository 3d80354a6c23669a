/** RPC and notifications, wire-compatible with Python's oslo.messaging. */
export type { Compression } from './compression.js'
export type { RequestContext } from './context.js'
export type { EndpointTarget, RpcEndpoint } from './dispatcher.js'
export {
  ExpectedError,
  NoServerError,
  NoSuchMethodError,
  RemoteError,
  RpcTimeoutError,
  UnsafeIntegerError,
  UnsupportedVersionError,
  VersionCapError,
  type RemoteFailure,
} from './errors.js'
export type { Notification, NotificationMetadata } from './notification.js'
export { NotificationResult, type NotificationEndpoint, type NotificationHandler } from './notification-dispatcher.js'
export type { NotificationFilter, Pattern } from './notification-filter.js'
export type {
  NotificationListener,
  NotificationListenerOptions,
  NotificationListenerStatus,
  NotificationTarget,
} from './notification-listener.js'
export type { Notifier, NotifierOptions } from './notifier.js'
export type { NotificationDriver, OsloOptions } from './options.js'
export type { NotificationPriority } from './priorities.js'
export type { RequestOptions, RpcClient, RpcClientOptions } from './rpc-client.js'
export type { RpcServer, RpcServerOptions, RpcServerStatus, RpcServerTarget } from './rpc-server.js'
export type { RpcTarget } from './target.js'
