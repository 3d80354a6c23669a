import { isIP } from 'node:net'
import { parseEndpoints, type Endpoint } from '../core/endpoint.js'
import { OptionReader, type CommonOptions } from '../core/options.js'
import { isPrintable, MAX_KEY_BYTES, type KeyRules } from './key.js'

/** How a node that comes back is kept from serving values that were changed elsewhere meanwhile. */
export type RejoinPolicy = 'safe' | 'flush' | 'trust'

/** Options of {@link createClient}. Durations are milliseconds, except times to live. */
export interface MemcachedOptions extends CommonOptions {
  /**
   * The nodes: `host`, `host:port` (default port 11211), `[::1]:port`, or objects of host and port. All clients that
   * share a cache must name the same nodes in the same way, because the names are hashed.
   *
   * From `OS_CACHE__MEMCACHE_SERVERS` when not given.
   */
  servers?: string | readonly (string | { readonly host: string; readonly port?: number })[]
  /** Time to live of a value that is stored without one; 0 is for ever. @default 0 */
  ttlSeconds?: number
  /** How long one node may take to answer; then the next one is asked. @default 250 */
  operationTimeoutMs?: number
  /** How long one node may take to accept a connection. @default 250 */
  connectTimeoutMs?: number
  /** Sockets per node; requests of one key always use the same one. @default 1 */
  connectionsPerNode?: number
  /** First pause between probes of a node that is out; it grows by half each time. @default 250 */
  probeIntervalMs?: number
  /** Longest pause between probes of a node that is out. @default 5000 */
  deadRetryMs?: number
  /** Put before every key; printable ASCII, at most 200 bytes. @default '' */
  keyPrefix?: string
  /** Largest value, serialized. @default 1_048_576 */
  maxValueBytes?: number
  /** What is done with keys over 250 bytes or outside printable ASCII. @default 'hash' */
  longKeys?: 'hash' | 'refuse'
  /**
   * What happens before a node that was out is used again. `safe`: what this client changed elsewhere is deleted on
   * it, and after a long absence its old values count as misses. `flush`: everything on it is deleted. `trust`:
   * nothing, it may serve old values.
   * @default 'safe'
   */
  rejoin?: RejoinPolicy
  /**
   * How the nodes are spoken to. `meta`: the meta protocol of memcached 1.6, by this package. `memjs`: the older binary
   * protocol, by memjs, for servers that do not know the other; it takes several times the processor time.
   * @default 'meta'
   */
  driver?: 'meta' | 'memjs'
  /** Source address of all connections. */
  localAddress?: string
}

/** {@link MemcachedOptions} with every default filled in; what the rest of the code sees. @internal */
export interface ResolvedMemcachedOptions extends KeyRules {
  readonly servers: readonly Endpoint[]
  readonly ttlSeconds: number
  readonly operationTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly connectionsPerNode: number
  readonly probeIntervalMs: number
  readonly deadRetryMs: number
  readonly maxValueBytes: number
  readonly rejoin: RejoinPolicy
  readonly driver: 'meta' | 'memjs'
  readonly localAddress: string | undefined
}

/** The one place where a default of the memcached client is written down. @internal */
export const MEMCACHED_DEFAULTS = Object.freeze({
  port: 11_211,
  ttlSeconds: 0,
  operationTimeoutMs: 250,
  connectTimeoutMs: 250,
  connectionsPerNode: 1,
  probeIntervalMs: 250,
  deadRetryMs: 5000,
  keyPrefix: '',
  maxValueBytes: 1024 * 1024,
  longKeys: 'hash',
  rejoin: 'safe',
  driver: 'meta',
} as const)

const MAX_PREFIX_BYTES = MAX_KEY_BYTES - 50
/** The ring numbers its nodes with 16 bits. */
const MAX_SERVERS = 65_535
/** 63 years; keeps an absolute expiry within what servers count in. @internal */
export const MAX_TTL_SECONDS = 2_000_000_000

/** Validates options and environment. Throws `InvalidOptionError`. @internal */
export function resolveMemcachedOptions(given: unknown): ResolvedMemcachedOptions {
  const read = new OptionReader('memcached', given)
  const fallback = MEMCACHED_DEFAULTS
  const probeIntervalMs = read.duration('probeIntervalMs', fallback.probeIntervalMs, { min: 1 })
  const resolved: ResolvedMemcachedOptions = {
    servers: readServers(read),
    ttlSeconds: read.integer('ttlSeconds', fallback.ttlSeconds, { max: MAX_TTL_SECONDS }),
    operationTimeoutMs: read.duration('operationTimeoutMs', fallback.operationTimeoutMs, { min: 1 }),
    connectTimeoutMs: read.duration('connectTimeoutMs', fallback.connectTimeoutMs, { min: 1 }),
    connectionsPerNode: read.integer('connectionsPerNode', fallback.connectionsPerNode, { min: 1, max: 1000 }),
    probeIntervalMs,
    deadRetryMs: Math.max(probeIntervalMs, read.duration('deadRetryMs', fallback.deadRetryMs, { min: 1 })),
    keyPrefix: readPrefix(read),
    maxValueBytes: read.integer('maxValueBytes', fallback.maxValueBytes, { min: 1, max: 1024 * 1024 * 1024 }),
    longKeys: read.oneOf('longKeys', ['hash', 'refuse'], fallback.longKeys),
    rejoin: read.oneOf('rejoin', ['safe', 'flush', 'trust'], fallback.rejoin),
    driver: read.oneOf('driver', ['meta', 'memjs'], fallback.driver),
    localAddress: readLocalAddress(read),
  }
  read.done()
  return Object.freeze(resolved)
}

function readServers(read: OptionReader): readonly Endpoint[] {
  const list = read.list('servers')
  if (list === undefined) throw read.problem('servers', 'must name at least one host (or OS_CACHE__MEMCACHE_SERVERS)')
  if (list.length > MAX_SERVERS) throw read.problem('servers', `must name at most ${MAX_SERVERS} hosts`)
  const plain = list.map((entry) => (typeof entry === 'string' ? withoutFamily(entry.trim()) : entry))
  return parseEndpoints(plain, MEMCACHED_DEFAULTS.port, read.source('servers'))
}

/** oslo.cache writes `inet6:[::1]:11211`, as python-memcached does. */
function withoutFamily(text: string): string {
  return text.replace(/^inet6?:(?=.*:|\[)/, '')
}

function readPrefix(read: OptionReader): string {
  const prefix = read.string('keyPrefix', MEMCACHED_DEFAULTS.keyPrefix)
  if (isPrintable(prefix) && prefix.length <= MAX_PREFIX_BYTES) return prefix
  throw read.problem('keyPrefix', `must be printable ASCII of at most ${MAX_PREFIX_BYTES} bytes`)
}

function readLocalAddress(read: OptionReader): string | undefined {
  const address = read.string('localAddress')
  if (address !== undefined && isIP(address) === 0) throw read.problem('localAddress', 'must be an IP address')
  return address
}
