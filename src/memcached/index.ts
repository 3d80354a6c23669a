import { MemcachedClient } from './client.js'
import { openMetaTransport } from './meta-transport.js'
import { resolveMemcachedOptions, type MemcachedOptions } from './options.js'

export type { MemcachedClient, CallOptions, SetOptions } from './client.js'
export type { MemcachedOptions, RejoinPolicy } from './options.js'
export type { MemcachedNodeStatus, MemcachedStatus } from './status.js'
export type { MemcachedCounters } from './router.js'
export type { NodeState } from './node.js'
export { KeyError, ProtocolError, ServerBusyError, ValueTooLargeError } from './errors.js'

/**
 * Makes a cache client for the memcached nodes in `options.servers`, or in `OS_CACHE__MEMCACHE_SERVERS`.
 *
 * It returns at once and connects by itself; calls made before that wait for the connection. Throws
 * `InvalidOptionError` for an option that cannot work.
 */
export function createClient(options: MemcachedOptions = {}): MemcachedClient {
  return new MemcachedClient(resolveMemcachedOptions(options), openMetaTransport)
}
