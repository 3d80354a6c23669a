import { isIP } from 'node:net'
import { formatEndpoint, parseEndpoints, type Endpoint } from '../core/endpoint.js'
import { variableName } from '../core/environment.js'
import { InvalidOptionError } from '../core/errors.js'
import { OptionReader, type CommonOptions } from '../core/options.js'
import { VARIABLES } from '../core/variables.js'
import { readOsloOptions, type OsloOptions, type ResolvedOsloOptions } from './oslo/options.js'
import {
  AMQP_PORT,
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
   * The schemes are `rabbit`, `amqp`, `kombu`, `kombu+rabbit`, `kombu+amqp` and `kombu+pyamqp`. Its query may set
   * options by their names in oslo.config (`?rabbit_retry_interval=3`); they win over the environment.
   */
  url?: string
  /**
   * `host[:port]` of each node; replaces the URL's hosts. Credentials are those that the URL has for the same host,
   * else those of its first host.
   */
  hosts?: string | readonly (string | { readonly host: string; readonly port?: number })[]
  /** Virtual host; replaces the URL's. @default '/' */
  vhost?: string
  /** User name on every host; replaces the URL's. @default 'guest' */
  username?: string
  /** Password on every host; replaces the URL's. @default 'guest' */
  password?: string
  /** Pause after every host was tried once without success. @default 1_000 */
  retryIntervalMs?: number
  /** What the pause grows by with each further round. @default 2_000 */
  retryBackoffMs?: number
  /** Longest pause. @default 5_000 */
  retryIntervalMaxMs?: number
  /** After a loss the first attempt waits a random part of this, so that not all clients arrive at once. @default 100 */
  reconnectSplayMs?: number
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
  readonly vhost: string
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
  readonly prefetch: number
  readonly localAddress: string | undefined
  readonly connectionName: string
  /** Of RPC and notifications. */
  readonly oslo: ResolvedOsloOptions
}

const DEFAULT_PREFETCH = 64
const MAIN_GROUP = 'oslo_messaging_rabbit'

/** Validates what the caller gave; throws `InvalidOptionError`. @internal */
export function resolveTransportOptions(given: TransportOptions = {}): ResolvedTransportOptions {
  // Read twice: the URL's query is a layer between the code and the environment, and the URL is itself an option.
  const url = readUrl(new OptionReader('amqp', given))
  const reader = url === undefined ? new OptionReader('amqp', given) : withQuery(given, url)
  reader.string('url')
  const resolved = Object.freeze({
    hosts: resolveHosts(reader, url),
    vhost: reader.string('vhost') ?? url?.vhost ?? '/',
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
    prefetch: reader.integer('prefetch', DEFAULT_PREFETCH, { max: 65_535 }) || DEFAULT_PREFETCH,
    localAddress: resolveLocalAddress(reader),
    connectionName: reader.string('connectionName', 'openstack-ha'),
    oslo: readOsloOptions(reader),
  })
  reader.done()
  return resolved
}

function readUrl(reader: OptionReader): TransportUrl | undefined {
  const text = reader.string('url')
  return text === undefined ? undefined : parseTransportUrl(text, reader.source('url'))
}

/** oslo.messaging lets the query override the configuration of that transport, key by key. */
function withQuery(given: TransportOptions, url: TransportUrl): OptionReader {
  const known = VARIABLES.filter(({ service, main }) => service === 'amqp' && main === true).map(({ option }) => option)
  const environment: Record<string, string | undefined> = { ...(given.env ?? process.env) }
  for (const [key, value] of url.query) {
    if (!known.includes(key)) {
      throw new InvalidOptionError('url', `has the unknown query parameter '${key}' (known: ${known.join(', ')})`)
    }
    environment[variableName(given.group ?? MAIN_GROUP, key)] = value
  }
  return new OptionReader('amqp', { ...given, env: environment })
}

function resolveHosts(reader: OptionReader, url: TransportUrl | undefined): readonly TransportHost[] {
  const list = reader.list('hosts')
  const username = reader.string('username')
  const password = reader.string('password')
  const endpoints = list === undefined ? undefined : parseEndpoints(list, AMQP_PORT, reader.source('hosts'))
  const hosts =
    endpoints === undefined ? (url?.hosts ?? []) : endpoints.map((endpoint) => withUrlCredentials(endpoint, url))
  if (hosts.length === 0) {
    const option = url === undefined ? 'hosts' : reader.source('url')
    throw new InvalidOptionError(option, "must name at least one host (or 'url', or OS_DEFAULT__TRANSPORT_URL)")
  }
  return Object.freeze(
    hosts.map((host) =>
      Object.freeze({ ...host, username: username ?? host.username, password: password ?? host.password }),
    ),
  )
}

function withUrlCredentials(endpoint: Endpoint, url: TransportUrl | undefined): TransportHost {
  const name = formatEndpoint(endpoint)
  const known =
    url?.hosts.find((host) => formatEndpoint(host.endpoint) === name) ?? url?.hosts[0] ?? DEFAULT_CREDENTIALS
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
