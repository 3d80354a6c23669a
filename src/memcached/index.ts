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
import { openAutoTransport } from './auto-transport.js'
import { MemcachedClient } from './client.js'
import { openMemjsTransport } from './memjs-driver.js'
import { openMetaTransport } from './meta-driver.js'
import { resolveMemcachedOptions, type MemcachedOptions, type ResolvedMemcachedOptions } from './options.js'
import type { TransportFactory } from './transport.js'

export type { MemcachedClient } from './client.js'
export type { ManyResult } from './batch.js'
export type { CasToken, ValueWithToken } from './commands.js'
export type { Load } from './loader.js'
export type { CallOptions, CountOptions, LoadOptions, SetOptions } from './request.js'
export type { Driver, MemcachedOptions, RejoinPolicy, RingKind } from './options.js'
export type { ServerOptions } from './server-address.js'
export type { TlsOptions } from '../core/tls.js'
export type { MemcachedHostStatus, MemcachedStatus } from './status.js'
export type { MemcachedCounters } from './router.js'
export type { NodeState } from './node-owner.js'
export * from '../core/public.js'
export { AuthenticationError, KeyError, ProtocolError, ServerBusyError, ValueTooLargeError } from './errors.js'

/**
 * Makes a cache client for the memcached nodes in `options.servers`, or in `OS_CACHE__MEMCACHE_SERVERS`.
 *
 * It returns at once and connects by itself; calls made before that wait for the connection. Throws
 * `InvalidOptionError` for an option that cannot work.
 */
export function createClient(options: MemcachedOptions = {}): MemcachedClient {
  const resolved = resolveMemcachedOptions(options)
  return new MemcachedClient(resolved, transportFor(resolved))
}

function transportFor({ driver, credentials }: ResolvedMemcachedOptions): TransportFactory {
  if (driver === 'meta') return openMetaTransport
  // A server that wants a password by SASL says nothing to any other protocol.
  if (driver === 'memjs' || credentials !== undefined) return openMemjsTransport
  return openAutoTransport
}
