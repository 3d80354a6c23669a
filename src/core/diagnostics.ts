import { channel } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'
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

const log = debuglog('openstack-ha')
