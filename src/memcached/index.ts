/**
 * A memcached client that takes a dead node out of its consistent-hash ring at once, and never reads a stale value from
 * one that came back.
 *
 * ```ts
 * import { createClient } from 'openstack-ha/memcached'
 *
 * const cache = createClient({ servers: ['cache1', 'cache2', 'cache3'] })
 * await cache.set('token:1', { user: 'u1' }, { ttlSeconds: 300 })
 * ```
 *
 * @module
 */
import { MemcachedClient } from './client.js'
import { openMemjsTransport } from './memjs-driver.js'
import { openMetaTransport } from './meta-driver.js'
import { resolveMemcachedOptions, type MemcachedOptions } from './options.js'

export type { MemcachedClient, CallOptions, SetOptions } from './client.js'
export type { MemcachedOptions, RejoinPolicy } from './options.js'
export type { MemcachedHostStatus, MemcachedStatus } from './status.js'
export type { MemcachedCounters } from './router.js'
export type { NodeState } from './node.js'
export * from '../core/public.js'
export { KeyError, ProtocolError, ServerBusyError, ValueTooLargeError } from './errors.js'

/**
 * Makes a cache client for the memcached nodes in `options.servers`, or in `OS_CACHE__MEMCACHE_SERVERS`.
 *
 * It returns at once and connects by itself; calls made before that wait for the connection. Throws
 * `InvalidOptionError` for an option that cannot work.
 */
export function createClient(options: MemcachedOptions = {}): MemcachedClient {
  const resolved = resolveMemcachedOptions(options)
  return new MemcachedClient(resolved, resolved.driver === 'memjs' ? openMemjsTransport : openMetaTransport)
}
