import { isIP } from 'node:net'
import { formatEndpoint, parseEndpoints, type Endpoint } from '../core/endpoint.js'
import { variableName } from '../core/environment.js'
import { InvalidOptionError } from '../core/errors.js'
import { OptionReader, type CommonOptions } from '../core/options.js'
import { resolveTls, type TlsOptions } from '../core/tls.js'
import { VARIABLES } from '../core/variables.js'
import { readOsloOptions, type OsloOptions, type ResolvedOsloOptions } from './oslo/options.js'
import type { CredentialsFunction } from './credentials.js'
import {
  AMQP_PORT,
  AMQPS_PORT,
  DEFAULT_CREDENTIALS,
  parseTransportUrl,
  type TransportHost,
  type TransportUrl,
} from './transport-url.js'

/** Options of the AMQP transport. All durations are milliseconds. */
export interface TransportOptions extends CommonOptions, OsloOptions {
  /**
   * Transport URL, several hosts allowed: `rabbit://user:password@h1:5672,user:password@h2:5672/vhost`.
   *
   * The schemes are `rabbit`, `amqp`, `amqps`, `kombu`, `kombu+rabbit`, `kombu+amqp` and `kombu+pyamqp`. Its query may set
   * options by their names in oslo.config (`?rabbit_retry_interval=3`); they win over the environment. `amqps` means TLS,
   * on port 5671.
   */
  url?: string
  /**
   * `host[:port]` of each node; replaces the URL's hosts. Credentials are those that the URL has for the same host,
   * else those of its first host.
   */
  hosts?: string | readonly (string | { readonly host: string; readonly port?: number })[]
  /**
   * Transport URL for notifications alone, in the form of `url`: `notifier` and `notificationListener` then have
   * connections of their own to its hosts. `hosts`, `vhost`, `username`, `password` and `credentials` are not for them;
   * all other options are.
   * @default none: notifications go where everything goes
   */
  notificationUrl?: string
  /** Virtual host; replaces the URL's. @default '/' */
  vhost?: string
  /** User name on every host; replaces the URL's. @default 'guest' */
  username?: string
  /** Password on every host; replaces the URL's. @default 'guest' */
  password?: string
  /**
   * Gives the credentials of each attempt to connect, instead of those above: for passwords and tokens that change. It
   * counts into `connectTimeoutMs`; when it fails, the attempt has failed.
   *
   * What expires while a connection lasts is not renewed on it: RabbitMQ answers with 403 then.
   */
  credentials?: CredentialsFunction
  /**
   * TLS: `true`, or options of `tls.connect` of Node (`ca`, `cert`, `key`, `servername`, `rejectUnauthorized` …). The
   * server's certificate is verified unless `rejectUnauthorized` is false. The port stays 5672 unless it is given.
   * @default true for an `amqps` URL, else false
   */
  tls?: boolean | TlsOptions
  /** Pause after every host was tried once without success. @default 1_000 */
  retryIntervalMs?: number
  /** What the pause grows by with each further round. @default 2_000 */
  retryBackoffMs?: number
  /** Longest pause. @default 5_000 */
  retryIntervalMaxMs?: number
  /** After a loss the first attempt waits a random part of this, so that not all clients arrive at once. @default 100 */
  reconnectSplayMs?: number
  /**
   * Further rounds through all hosts that may fail in a row, before the transport ends as by `destroy(error)`.
   * @default Infinity
   */
  maxRetries?: number
  /** Order in which hosts are tried: random, or as listed, starting after the one that was lost. @default 'shuffle' */
  failoverStrategy?: 'shuffle' | 'round-robin'
  /** Heartbeat asked from the server, in whole seconds (1000, 2000 …); 0 turns heartbeats off. @default 10_000 */
  heartbeatMs?: number
  /** Longest time for one connection to be made, handshake included. @default 3_000 */
  connectTimeoutMs?: number
  /** Time limit of `publish` when the call gives none. @default 30_000 */
  publishTimeoutMs?: number
  /** Most messages that may wait for their confirmation, over all calls of `publish`. @default 10_000 */
  maxOutboxMessages?: number
  /** Most bytes of message bodies that may wait for their confirmation. @default 16_777_216 */
  maxOutboxBytes?: number
  /**
   * What `publish` does when the outbox is full: rejects with `BackpressureError` at once, or waits for room within the
   * call's limit, in order. As many messages and bytes may wait as the outbox holds; beyond that it rejects all the same.
   * @default 'reject'
   */
  overflow?: 'reject' | 'wait'
  /**
   * Largest message body. A larger one is refused here, because the broker would close the channel. The default is
   * RabbitMQ's `max_message_size` since 4.0; before it was 134_217_728.
   * @default 16_777_216
   */
  maxMessageBytes?: number
  /**
   * Keeps a third connection, to another host than the one that publishes, which takes over at once when that is lost.
   * It costs one connection more per transport; with one host there is none.
   * @default true
   */
  standby?: boolean
  /** Unacknowledged messages per consumer; 0 means the default, there is no consumer without a limit. @default 64 */
  prefetch?: number
  /** Source address of the sockets, for machines with several networks. */
  localAddress?: string
  /** How the broker's management lists the connections; the role is appended. @default 'openstack-ha' */
  connectionName?: string
}

/** {@link TransportOptions} with every default filled in; what the rest of the code sees. @internal */
export interface ResolvedTransportOptions {
  readonly hosts: readonly TransportHost[]
  /** Of hosts that are given without one. */
  readonly defaultPort: number
  readonly vhost: string
  readonly credentials: CredentialsFunction | undefined
  readonly tls: TlsOptions | undefined
  readonly maxRetries: number
  readonly retryIntervalMs: number
  readonly retryBackoffMs: number
  readonly retryIntervalMaxMs: number
  readonly reconnectSplayMs: number
  readonly failoverStrategy: 'shuffle' | 'round-robin'
  readonly heartbeatMs: number
  readonly connectTimeoutMs: number
  readonly publishTimeoutMs: number
  readonly maxOutboxMessages: number
  readonly maxOutboxBytes: number
  readonly overflow: 'reject' | 'wait'
  readonly maxMessageBytes: number
  readonly standby: boolean
  readonly prefetch: number
  readonly localAddress: string | undefined
  readonly connectionName: string
  /** Of RPC and notifications. */
  readonly oslo: ResolvedOsloOptions
  /** Of the transport for notifications, when they have one of their own. */
  readonly notifications: ResolvedTransportOptions | undefined
}

const URL_OPTIONS = ['url', 'notificationUrl'] as const
type UrlOption = (typeof URL_OPTIONS)[number]

/** What code says of the hosts of `url`. */
const PLACE_OPTIONS = ['hosts', 'vhost', 'username', 'password', 'credentials'] as const

const DEFAULT_PREFETCH = 64
const MAIN_GROUP = 'oslo_messaging_rabbit'

/** Options of oslo.messaging about its own inside: a URL that sets them works here, too. */
const PYTHON_ONLY = new Set([
  ...['rpc_conn_pool_size', 'conn_pool_min_size', 'conn_pool_ttl', 'heartbeat_in_pthread', 'heartbeat_rate'],
  ...['kombu_reconnect_delay', 'rabbit_login_method', 'ssl_version', 'ssl_enforce_fips_mode', 'rabbit_ha_queues'],
])

/** Validates what the caller gave; throws `InvalidOptionError`. @internal */
export function resolveTransportOptions(given: TransportOptions = {}): ResolvedTransportOptions {
  const resolved = resolveWith(given, 'url')
  return Object.freeze({ ...resolved, notifications: resolveNotifications(given) })
}

/** The options of the transport for notifications: those that say where it connects are in its URL. */
function resolveNotifications(given: TransportOptions): ResolvedTransportOptions | undefined {
  if (new OptionReader('amqp', given).string('notificationUrl') === undefined) return undefined
  const own: TransportOptions = { ...given }
  for (const option of PLACE_OPTIONS) Reflect.deleteProperty(own, option)
  return Object.freeze({ ...resolveWith(own, 'notificationUrl'), notifications: undefined })
}

/** Everything for one transport, whose URL is the option `urlOption`. */
function resolveWith(given: TransportOptions, urlOption: UrlOption): Omit<ResolvedTransportOptions, 'notifications'> {
  // Read twice: the URL's query is a layer between the code and the environment, and the URL is itself an option.
  const url = readUrl(new OptionReader('amqp', given), urlOption)
  const reader = url === undefined ? new OptionReader('amqp', given) : withQuery(given, url, urlOption)
  for (const option of URL_OPTIONS) reader.string(option)
  const resolved = {
    hosts: resolveHosts(reader, url),
    defaultPort: portOf(url),
    vhost: reader.string('vhost') ?? url?.vhost ?? '/',
    credentials: resolveCredentials(reader),
    tls: resolveTls(reader, url?.isSecure ?? false),
    maxRetries: resolveMaxRetries(reader),
    retryIntervalMs: reader.duration('retryIntervalMs', 1000, { min: 10 }),
    retryBackoffMs: reader.duration('retryBackoffMs', 2000),
    retryIntervalMaxMs: reader.duration('retryIntervalMaxMs', 5000, { min: 10 }),
    reconnectSplayMs: reader.duration('reconnectSplayMs', 100),
    failoverStrategy: reader.oneOf('failoverStrategy', ['shuffle', 'round-robin'], 'shuffle'),
    heartbeatMs: resolveHeartbeat(reader),
    connectTimeoutMs: reader.duration('connectTimeoutMs', 3000, { min: 1 }),
    publishTimeoutMs: reader.duration('publishTimeoutMs', 30_000, { min: 1 }),
    maxOutboxMessages: reader.integer('maxOutboxMessages', 10_000, { min: 1 }),
    maxOutboxBytes: reader.integer('maxOutboxBytes', 16 * 1024 * 1024, { min: 1 }),
    overflow: reader.oneOf('overflow', ['reject', 'wait'], 'reject'),
    maxMessageBytes: reader.integer('maxMessageBytes', 16 * 1024 * 1024, { min: 1 }),
    standby: reader.boolean('standby', true),
    prefetch: reader.integer('prefetch', DEFAULT_PREFETCH, { max: 65_535 }) || DEFAULT_PREFETCH,
    localAddress: resolveLocalAddress(reader),
    connectionName: reader.string('connectionName', 'openstack-ha'),
    oslo: readOsloOptions(reader),
  }
  reader.done()
  return resolved
}

function readUrl(reader: OptionReader, option: UrlOption): TransportUrl | undefined {
  const text = reader.string(option)
  return text === undefined ? undefined : parseTransportUrl(text, reader.source(option))
}

/** oslo.messaging lets the query override the configuration of that transport, key by key. */
function withQuery(given: TransportOptions, url: TransportUrl, urlOption: UrlOption): OptionReader {
  const known = VARIABLES.filter(({ service, main }) => service === 'amqp' && main === true).map(({ option }) => option)
  const environment: Record<string, string | undefined> = { ...(given.env ?? process.env) }
  for (const [key, value] of url.query) {
    if (PYTHON_ONLY.has(key)) continue
    if (!known.includes(key)) {
      throw new InvalidOptionError(urlOption, `has the unknown query parameter '${key}' (known: ${known.join(', ')})`)
    }
    environment[variableName(given.group ?? MAIN_GROUP, key)] = value
  }
  return new OptionReader('amqp', { ...given, env: environment })
}

function resolveMaxRetries(reader: OptionReader): number {
  const given = reader.raw('maxRetries') ?? Infinity
  return given === Infinity ? Infinity : reader.integer('maxRetries', 0)
}

function resolveCredentials(reader: OptionReader): CredentialsFunction | undefined {
  const given = reader.raw('credentials')
  if (given !== undefined && typeof given !== 'function') {
    throw reader.problem('credentials', 'must be a function that gives { username, password }')
  }
  return given as CredentialsFunction | undefined
}

/** The list of `setHosts`; credentials are those of the same host before, else those of the first one. @internal */
export function resolveHostList(
  list: unknown,
  before: readonly TransportHost[],
  defaultPort: number,
): readonly TransportHost[] {
  const entries: unknown = typeof list === 'string' ? list.split(',') : list
  if (!Array.isArray(entries)) throw new InvalidOptionError('hosts', 'must be a list')
  const endpoints = parseEndpoints(entries, defaultPort, 'hosts')
  return endpoints.map((endpoint) => Object.freeze(withCredentials(endpoint, before)))
}

function resolveHosts(reader: OptionReader, url: TransportUrl | undefined): readonly TransportHost[] {
  const list = reader.list('hosts')
  const username = reader.string('username')
  const password = reader.string('password')
  if (list === undefined && url === undefined) {
    throw new InvalidOptionError('hosts', "must name at least one host (or 'url', or OS_DEFAULT__TRANSPORT_URL)")
  }
  const urlHosts = url?.hosts ?? []
  const endpoints = list === undefined ? undefined : parseEndpoints(list, portOf(url), reader.source('hosts'))
  const hosts = endpoints?.map((endpoint) => withCredentials(endpoint, urlHosts)) ?? urlHosts
  return Object.freeze(
    hosts.map((host) =>
      Object.freeze({ ...host, username: username ?? host.username, password: password ?? host.password }),
    ),
  )
}

function portOf(url: TransportUrl | undefined): number {
  return url?.isSecure === true ? AMQPS_PORT : AMQP_PORT
}

function withCredentials(endpoint: Endpoint, hosts: readonly TransportHost[]): TransportHost {
  const name = formatEndpoint(endpoint)
  const known = hosts.find((host) => formatEndpoint(host.endpoint) === name) ?? hosts[0] ?? DEFAULT_CREDENTIALS
  return { endpoint, username: known.username, password: known.password }
}

function resolveHeartbeat(reader: OptionReader): number {
  const heartbeatMs = reader.duration('heartbeatMs', 10_000, { max: 65_535_000 })
  if (heartbeatMs % 1000 !== 0) throw reader.problem('heartbeatMs', 'must be whole seconds: 1000, 2000 …')
  return heartbeatMs
}

function resolveLocalAddress(reader: OptionReader): string | undefined {
  const address = reader.string('localAddress')
  if (address !== undefined && isIP(address) === 0) throw reader.problem('localAddress', 'must be an IP address')
  return address
}
