import { isIP, type LookupFunction } from 'node:net'
import { InvalidOptionError } from '../core/errors.js'
import { OptionReader, type CommonOptions } from '../core/options.js'
import { resolveTls, type TlsOptions } from '../core/tls.js'
import { isPrintable, MAX_KEY_BYTES, type KeyRules } from './key.js'
import { DEFAULT_PORT, parseServers, type ServerAddress, type ServerOptions } from './server-address.js'

/** How a node that comes back is kept from serving values that were changed elsewhere meanwhile. */
export type RejoinPolicy = 'safe' | 'flush' | 'trust'

/** Which node a key belongs to. */
export type RingKind = 'ketama' | 'libmemcached' | 'pymemcache'

/** How the nodes are spoken to. */
export type Driver = 'auto' | 'meta' | 'memjs'

/** Options of {@link createClient}. Durations are milliseconds, except times to live. */
export interface MemcachedOptions extends CommonOptions {
  /**
   * The nodes: `host`, `host:port` (default port 11211), `[::1]:port`, `/path/of/a.sock`, or objects of host, port and
   * weight. All clients that share a cache must name the same nodes in the same way, because the names are hashed.
   *
   * From `OS_CACHE__MEMCACHE_SERVERS` when not given.
   */
  servers?: string | readonly (string | ServerOptions)[]
  /**
   * Which node a key belongs to. `ketama`: a consistent-hash ring of 160 points per server and unit of weight;
   * without weights the same as libmemcached's weighted ketama, but for numbers of servers where that rounds down.
   * `libmemcached`: exactly libmemcached's weighted ketama. `pymemcache`: the rendezvous hash of pymemcache's
   * `HashClient`, which dogpile.cache and oslo.cache use; it knows no weights.
   * @default 'ketama'
   */
  compat?: RingKind
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
  /** What reads do while no node is usable: reject with `NoEndpointError`, or find nothing. @default 'reject' */
  whenUnavailable?: 'reject' | 'miss'
  /**
   * When a node returns, what this client changed meanwhile is copied to it from the heirs, and not only deleted on it.
   * What another client deleted on the node before this one had copied it may come back: for caches that can bear that.
   * @default false
   */
  warmUp?: boolean
  /** Put before every key; printable ASCII, at most 200 bytes. @default '' */
  keyPrefix?: string
  /** Largest value, serialized and compressed. @default 1_048_576 */
  maxValueBytes?: number
  /** Values of at least this size are compressed, with zlib on the calling thread; 0 compresses nothing. @default 0 */
  compressFromBytes?: number
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
   * protocol, by memjs, for servers that do not know the other; it takes several times the processor time. `auto`: meta,
   * and memjs for a node that does not know it; with a user name, memjs.
   * @default 'auto'
   */
  driver?: Driver
  /**
   * User name, for servers that want one: SASL PLAIN with the driver `memjs`, and with `meta` the text protocol's own
   * (`memcached -Y`). From `OS_CACHE__MEMCACHE_USERNAME` when not given.
   */
  username?: string
  /** From `OS_CACHE__MEMCACHE_PASSWORD` when not given. */
  password?: string
  /** TLS: `true`, or options of `tls.connect` of Node (`ca`, `cert`, `key`, `servername` …). @default false */
  tls?: boolean | TlsOptions
  /**
   * Finds the addresses of a host name, with the signature of `dns.lookup`; asked at each new connection.
   * @default dns.lookup
   */
  lookup?: LookupFunction
  /** Source address of all connections. */
  localAddress?: string
}

/** What a server is shown first. @internal */
export interface Credentials {
  readonly username: string
  readonly password: string
}

/** {@link MemcachedOptions} with every default filled in; what the rest of the code sees. @internal */
export interface ResolvedMemcachedOptions extends KeyRules {
  readonly servers: readonly ServerAddress[]
  readonly compat: RingKind
  readonly ttlSeconds: number
  readonly operationTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly connectionsPerNode: number
  readonly probeIntervalMs: number
  readonly deadRetryMs: number
  readonly maxValueBytes: number
  /** Infinity compresses nothing. */
  readonly compressFromBytes: number
  readonly rejoin: RejoinPolicy
  readonly warmUp: boolean
  readonly missWhenUnavailable: boolean
  readonly driver: Driver
  readonly credentials: Credentials | undefined
  readonly tls: TlsOptions | undefined
  readonly lookup: LookupFunction | undefined
  readonly localAddress: string | undefined
}

/** The one place where a default of the memcached client is written down. @internal */
export const MEMCACHED_DEFAULTS = Object.freeze({
  port: DEFAULT_PORT,
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
  driver: 'auto',
  compat: 'ketama',
} as const)

const MAX_PREFIX_BYTES = MAX_KEY_BYTES - 50
/** The ring numbers its nodes with 16 bits, and keeps some numbers for servers that were removed. */
const MAX_SERVERS = 65_000
/** 63 years; keeps an absolute expiry within what servers count in. @internal */
export const MAX_TTL_SECONDS = 2_000_000_000

/** Validates options and environment. Throws `InvalidOptionError`. @internal */
export function resolveMemcachedOptions(given: unknown): ResolvedMemcachedOptions {
  const read = new OptionReader('memcached', given)
  const fallback = MEMCACHED_DEFAULTS
  const probeIntervalMs = read.duration('probeIntervalMs', fallback.probeIntervalMs, { min: 1 })
  const servers = readServers(read)
  const compat = read.oneOf('compat', ['ketama', 'libmemcached', 'pymemcache'], fallback.compat)
  checkServers(servers, compat, read.source('servers'))
  const driver = read.oneOf('driver', ['auto', 'meta', 'memjs'], fallback.driver)
  const resolved: ResolvedMemcachedOptions = {
    servers,
    compat,
    ttlSeconds: read.integer('ttlSeconds', fallback.ttlSeconds, { max: MAX_TTL_SECONDS }),
    operationTimeoutMs: read.duration('operationTimeoutMs', fallback.operationTimeoutMs, { min: 1 }),
    connectTimeoutMs: read.duration('connectTimeoutMs', fallback.connectTimeoutMs, { min: 1 }),
    connectionsPerNode: read.integer('connectionsPerNode', fallback.connectionsPerNode, { min: 1, max: 1000 }),
    probeIntervalMs,
    deadRetryMs: Math.max(probeIntervalMs, read.duration('deadRetryMs', fallback.deadRetryMs, { min: 1 })),
    keyPrefix: readPrefix(read),
    maxValueBytes: read.integer('maxValueBytes', fallback.maxValueBytes, { min: 1, max: 1024 * 1024 * 1024 }),
    longKeys: read.oneOf('longKeys', ['hash', 'refuse'], fallback.longKeys),
    compressFromBytes: read.integer('compressFromBytes', 0) || Infinity,
    rejoin: read.oneOf('rejoin', ['safe', 'flush', 'trust'], fallback.rejoin),
    warmUp: read.boolean('warmUp', false),
    missWhenUnavailable: read.oneOf('whenUnavailable', ['reject', 'miss'], 'reject') === 'miss',
    driver,
    credentials: readCredentials(read, driver),
    tls: resolveTls(read, false),
    lookup: readLookup(read),
    localAddress: readLocalAddress(read),
  }
  read.done()
  return Object.freeze(resolved)
}

function readServers(read: OptionReader): readonly ServerAddress[] {
  const list = read.list('servers')
  if (list === undefined) throw read.problem('servers', 'must name at least one host (or OS_CACHE__MEMCACHE_SERVERS)')
  return parseServers(list, read.source('servers'))
}

/** Refuses what a list of servers cannot have together with the other options. @internal */
export function checkServers(servers: readonly ServerAddress[], compat: RingKind, option: string): void {
  if (servers.length > MAX_SERVERS) throw new InvalidOptionError(option, `must name at most ${MAX_SERVERS} hosts`)
  const hasWeights = servers.some(({ weight }) => weight !== 1)
  if (compat === 'pymemcache' && hasWeights) {
    throw new InvalidOptionError(option, "has weights, which the rendezvous hash of 'pymemcache' does not know")
  }
  if (compat === 'libmemcached' && servers.some(({ weight }) => !Number.isInteger(weight))) {
    throw new InvalidOptionError(option, 'has a weight that is no whole number, which libmemcached does not know')
  }
}

function readCredentials(read: OptionReader, driver: Driver): Credentials | undefined {
  const username = read.string('username')
  const password = read.string('password')
  if (username === undefined && password === undefined) return undefined
  if (username === undefined || password === undefined) {
    throw read.problem(username === undefined ? 'username' : 'password', 'is missing: the two go together')
  }
  for (const [name, value] of Object.entries({ username, password })) {
    if (driver === 'meta' && /\s/.test(value)) throw read.problem(name, 'has a space, which ends it in a password file')
  }
  return Object.freeze({ username, password })
}

function readLookup(read: OptionReader): LookupFunction | undefined {
  const lookup = read.raw('lookup')
  if (lookup !== undefined && typeof lookup !== 'function') throw read.problem('lookup', 'must be a function')
  return lookup as LookupFunction | undefined
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
