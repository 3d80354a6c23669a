import type { Payload } from './envelope.js'

/**
 * What goes along with a request: who asks, on whose behalf, under which request id. A plain object of JSON values, as
 * oslo.context's `to_dict()` makes it. It carries tokens: nothing here logs it.
 */
export type RequestContext = Readonly<Record<string, unknown>>

/** What of a context goes into notifications: many may read them, and a token is not for many. */
const SAFE_KEYS: ReadonlySet<string> = new Set([
  ...['user_id', 'project_id', 'domain_id', 'user_domain_id', 'project_domain_id', 'is_admin', 'request_id', 'roles'],
  ...['user_name', 'project_name', 'domain_name', 'user_domain_name', 'project_domain_name'],
  ...['service_user_id', 'service_user_domain_id', 'service_user_domain_name', 'service_project_id'],
  ...['service_project_name', 'service_project_domain_id', 'service_project_domain_name', 'service_roles'],
  ...['global_request_id', 'system_scope', 'user', 'domain', 'user_domain', 'project_domain'],
])

const PREFIX = '_context_'

/** The context as fields of a message. @internal */
export function packContext(context: RequestContext | null | undefined): Payload {
  return Object.fromEntries(Object.entries(context ?? {}).map(([key, value]) => [PREFIX + key, value]))
}

/** The part of a context that may go into notifications, as oslo.messaging chooses it. @internal */
export function redactContext(context: RequestContext | null | undefined): RequestContext {
  return Object.fromEntries(Object.entries(context ?? {}).filter(([key]) => SAFE_KEYS.has(key)))
}

/** The context that the fields of a message hold. @internal */
export function unpackContext(payload: Payload): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(payload)
      .filter(([key]) => key.startsWith(PREFIX))
      .map(([key, value]) => [key.slice(PREFIX.length), value]),
  )
}
