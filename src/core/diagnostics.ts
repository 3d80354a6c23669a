import { channel } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'
import { toError } from './errors.js'
import type { Service } from './variables.js'

/**
 * Publishes a fact to `diagnostics_channel` `openstack-ha:<service>:<name>` and, with `NODE_DEBUG=openstack-ha`, to
 * stderr. Costs nothing when nobody listens. Payloads hold no password and no message body.
 * @internal
 */
export function diagnose(service: Service, name: string, payload: unknown): void {
  const subscribers = channel(`openstack-ha:${service}:${name}`)
  if (subscribers.hasSubscribers) subscribers.publish(payload)
  log('%s %s %O', service, name, payload)
}

/**
 * Calls a listener, and takes what it throws or rejects with to the channel `listenerError`: a listener's defect is none of
 * ours, and must not end the process.
 * @internal
 */
export function callListener(service: Service, call: () => unknown): void {
  const failed = (error: unknown): void => diagnose(service, 'listenerError', { error: toError(error) })
  try {
    const result = call()
    if (result instanceof Promise) result.catch(failed)
  } catch (error) {
    failed(error)
  }
}

const log = debuglog('openstack-ha')
