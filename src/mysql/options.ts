import { readFileSync } from 'node:fs'
import type { LookupFunction } from 'node:net'
import { parseEndpoints, type Endpoint } from '../core/endpoint.js'
import { OptionReader, type CommonOptions } from '../core/options.js'
import { errorText, InvalidOptionError } from '../core/errors.js'
import { driverOptionsProblem } from './driver.js'
import type { NewConnection } from './session-setup.js'
import { MYSQL_PORT, parseMysqlUrl, type MysqlUrl } from './url.js'

/** One host of the list. */
export interface MysqlHostOption {
  host: string
  /** @default 3306 */
  port?: number
  /** Lower is preferred as writer; equal ones follow the list's order. @default 0 */
  priority?: number
}

/** Options of mysql2 that are handed to it as they are. */
const PASS_THROUGH = [
  'ssl', 'charset', 'timezone', 'typeCast', 'stringifyObjects', 'insecureAuth', 'supportBigNumbers', 'bigNumberStrings',
  'decimalNumbers', 'dateStrings', 'trace', 'multipleStatements', 'namedPlaceholders', 'nestTables', 'rowsAsArray',
  'flags', 'connectAttributes', 'maxPreparedStatements', 'authPlugins', 'enableCleartextPlugin', 'compress', 'jsonStrings',
  'infileStreamFactory', 'disableEval', 'passwordSha1', 'password1', 'password2', 'password3', 'charsetNumber',
] as const // prettier-ignore

/**
 * Options of {@link createPool}. All durations are milliseconds.
 *
 * mysql2's connection options that change how values are sent and read (`ssl`, `charset`, `timezone`, `typeCast`,
 * `dateStrings`, `namedPlaceholders`, `multipleStatements` and so on) are taken too and passed through.
 */
export interface MysqlPoolOptions extends CommonOptions, Partial<Record<(typeof PASS_THROUGH)[number], unknown>> {
  /** `mysql+pymysql://user:password@h1,h2:3307/database?charset=utf8mb4`. Environment: `OS_DATABASE__CONNECTION`. */
  url?: string
  /** Nodes in order of preference, `host`, `host:port` or objects; replaces the URL's. */
  hosts?: readonly (string | MysqlHostOption)[]
  user?: string
  password?: string
  database?: string
  /** Most connections to one node. @default 10 */
  connectionLimit?: number
  /** Most callers that wait to write, and as many that wait to read; the next is refused at once. @default 1000 */
  queueLimit?: number
  /** Longest wait for a connection, connecting included. @default 30_000 */
  acquireTimeoutMs?: number
  /** Longest time to open one connection, handshake included. @default 2_000 */
  connectTimeoutMs?: number
  /** A connection is replaced after this time, less up to 5 %. @default 1_800_000 */
  maxLifetimeMs?: number
  /** A connection that idled for longer is pinged before use. @default 500 */
  validateAfterIdleMs?: number
  /** How often the writer is asked for its state. @default 1_000 */
  probeIntervalMs?: number
  /** How often the other nodes are asked. @default 3_000 */
  passiveProbeIntervalMs?: number
  /** A probe unanswered for so long is a miss. @default 500 */
  probeTimeoutMs?: number
  /** So many misses in a row and the node is given up. @default 2 */
  probeMisses?: number
  /** A statement unanswered for so long makes its node suspect: it is asked at once. @default 250 */
  suspectAfterMs?: number
  /** A node that came back is preferred only after it was fit for so long; doubles with each relapse. @default 30_000 */
  failbackDelayMs?: number
  /** At a planned change running work has so long to finish before its connections are cut. @default 250 */
  drainTimeoutMs?: number
  /** Writes wait so long for a writer, then fail with {@link NoWriterError}. @default 30_000 */
  failoverTimeoutMs?: number
  /** How often `transaction` runs its function again. @default 20 */
  maxRetries?: number
  /** First pause after a deadlock; doubles, with jitter. @default 100 */
  retryIntervalMs?: number
  /** Longest pause after a deadlock. @default 10_000 */
  maxRetryIntervalMs?: number
  /** `transaction` asks the commit fence unless told otherwise; `ready()` then makes its table. @default false */
  exactlyOnce?: boolean
  /** `sql_mode` of every connection; `''` sets it empty. @default 'TRADITIONAL' */
  sqlMode?: string
  /** `wsrep_sync_wait` of every connection on Galera; not set by default. */
  wsrepSyncWait?: number
  /** Source address of the sockets. */
  localAddress?: string
  /** Statements run on each new connection, before {@link MysqlPoolOptions.onConnection}. */
  initSql?: string | readonly string[]
  /**
   * Called with each new connection before it is used, and waited for within `connectTimeoutMs`. When it fails the
   * connection is closed, and whoever waits for one learns of it by `SessionSetupError`.
   */
  onConnection?: (connection: NewConnection) => void | Promise<void>
  /** A connection held for longer is reported by the event `leak`, with its borrower's stack; 0 is off. @default 0 */
  leakDetectionMs?: number
  /**
   * Finds the addresses of a host name, with the signature of `dns.lookup`; asked at each new connection, with
   * `all: true`.
   * @default dns.lookup
   */
  lookup?: LookupFunction
  /**
   * What the function of a transaction asks of the pool beside its own connection is known as such by its asynchronous
   * context: it never goes to another writer than the transaction's, and cannot wait for itself unnoticed.
   *
   * Before Node 24 the runtime then watches every promise of the process, which costs a query 20 to 50 % more CPU.
   * @default true from Node 24 on
   */
  followTransactions?: boolean
}

/** One host with everything filled in. @internal */
export interface MysqlHost {
  readonly endpoint: Endpoint
  readonly priority: number
}

/** {@link MysqlPoolOptions} with every default filled in; what the rest of the code sees. @internal */
export interface ResolvedMysqlPoolOptions {
  readonly hosts: readonly MysqlHost[]
  /** For mysql2: credentials, database and what is passed through. */
  readonly driverOptions: Readonly<Record<string, unknown>>
  readonly connectionLimit: number
  readonly queueLimit: number
  readonly acquireTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly maxLifetimeMs: number
  readonly validateAfterIdleMs: number
  readonly probeIntervalMs: number
  readonly passiveProbeIntervalMs: number
  readonly probeTimeoutMs: number
  readonly probeMisses: number
  readonly suspectAfterMs: number
  readonly failbackDelayMs: number
  readonly drainTimeoutMs: number
  readonly failoverTimeoutMs: number
  readonly maxRetries: number
  readonly retryIntervalMs: number
  readonly maxRetryIntervalMs: number
  readonly exactlyOnce: boolean
  readonly sqlMode: string | undefined
  readonly wsrepSyncWait: number | undefined
  readonly localAddress: string | undefined
  readonly initSql: readonly string[]
  readonly onConnection: ((connection: NewConnection) => void | Promise<void>) | undefined
  readonly leakDetectionMs: number
  readonly lookup: LookupFunction | undefined
  readonly followTransactions: boolean
}

const MIN_PROBE_MS = 50

/** @internal */
export function resolveMysqlOptions(given: MysqlPoolOptions): ResolvedMysqlPoolOptions {
  const read = new OptionReader('mysql', given)
  const urlText = read.string('url')
  const url = urlText === undefined ? undefined : parseMysqlUrl(urlText, read.source('url'))
  const hosts = resolveHosts(read, url)
  const resolved: ResolvedMysqlPoolOptions = {
    hosts,
    driverOptions: resolveDriverOptions(read, url),
    connectionLimit: read.integer('connectionLimit', 10, { min: 1 }),
    queueLimit: read.integer('queueLimit', 1000, { min: 1 }),
    acquireTimeoutMs: read.duration('acquireTimeoutMs', 30_000, { min: 1 }),
    connectTimeoutMs: read.duration('connectTimeoutMs', url?.connectTimeoutMs ?? 2000, { min: 1 }),
    maxLifetimeMs: read.duration('maxLifetimeMs', 1_800_000, { min: 1000 }),
    validateAfterIdleMs: read.duration('validateAfterIdleMs', 500),
    probeIntervalMs: read.duration('probeIntervalMs', 1000, { min: MIN_PROBE_MS }),
    passiveProbeIntervalMs: read.duration('passiveProbeIntervalMs', 3000, { min: MIN_PROBE_MS }),
    probeTimeoutMs: read.duration('probeTimeoutMs', 500, { min: MIN_PROBE_MS }),
    probeMisses: read.integer('probeMisses', 2, { min: 1 }),
    suspectAfterMs: read.duration('suspectAfterMs', 250, { min: MIN_PROBE_MS }),
    failbackDelayMs: read.duration('failbackDelayMs', 30_000),
    drainTimeoutMs: read.duration('drainTimeoutMs', 250),
    failoverTimeoutMs: read.duration('failoverTimeoutMs', 30_000, { min: 1 }),
    maxRetries: read.integer('maxRetries', 20),
    retryIntervalMs: read.duration('retryIntervalMs', 100),
    maxRetryIntervalMs: read.duration('maxRetryIntervalMs', 10_000),
    exactlyOnce: read.boolean('exactlyOnce', false),
    sqlMode: read.string('sqlMode', 'TRADITIONAL'),
    wsrepSyncWait: read.raw('wsrepSyncWait') === undefined ? undefined : read.integer('wsrepSyncWait', 0, { max: 15 }),
    localAddress: read.string('localAddress'),
    initSql: resolveInitSql(read),
    onConnection: resolveHook(read),
    leakDetectionMs: read.duration('leakDetectionMs', 0),
    lookup: resolveLookup(read),
    followTransactions: resolveFollowing(read),
  }
  read.done()
  return Object.freeze(resolved)
}

function resolveHosts(read: OptionReader, url: MysqlUrl | undefined): readonly MysqlHost[] {
  const isUrlGiven = !read.isGiven('hosts') && read.isGiven('url')
  const named = read.list('hosts')
  // A URL given in code wins over a host list from the environment.
  const list = isUrlGiven ? url?.endpoints : (named ?? url?.endpoints)
  if (list === undefined) {
    throw read.problem(
      'hosts',
      'must name at least one host (or give url, OS_DATABASE__CONNECTION or OS_DATABASE__HOSTS)',
    )
  }
  return parseHosts(list, read.source(list === named ? 'hosts' : 'url'))
}

/** Reads a host list in any of its forms. @internal */
export function parseHosts(list: readonly unknown[], option: string): readonly MysqlHost[] {
  const endpoints = parseEndpoints(list, MYSQL_PORT, option)
  return Object.freeze(
    endpoints.map((endpoint, index) => {
      const { priority = 0 } = (list[index] ?? {}) as { priority?: unknown }
      if (typeof priority !== 'number' || !Number.isFinite(priority))
        throw new InvalidOptionError(option, 'has a priority that is no number')
      return Object.freeze({ endpoint, priority })
    }),
  )
}

function resolveInitSql(read: OptionReader): readonly string[] {
  const value = read.raw('initSql') ?? []
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (!list.every((sql) => typeof sql === 'string'))
    throw read.problem('initSql', 'must be a statement or a list of them')
  return Object.freeze([...list])
}

/** From this version on a context costs nothing where nobody asks for it. */
const NODE_WITH_CHEAP_CONTEXTS = 24

function resolveFollowing(read: OptionReader): boolean {
  const isCheap = Number.parseInt(process.versions.node, 10) >= NODE_WITH_CHEAP_CONTEXTS
  const value = read.raw('followTransactions') ?? isCheap
  if (typeof value !== 'boolean') throw read.problem('followTransactions', 'must be true or false')
  return value
}

function resolveHook(read: OptionReader): ResolvedMysqlPoolOptions['onConnection'] {
  const value = read.raw('onConnection')
  if (value !== undefined && typeof value !== 'function') throw read.problem('onConnection', 'must be a function')
  return value as ResolvedMysqlPoolOptions['onConnection']
}

function resolveLookup(read: OptionReader): LookupFunction | undefined {
  const lookup = read.raw('lookup')
  if (lookup !== undefined && typeof lookup !== 'function') throw read.problem('lookup', 'must be a function')
  return lookup as LookupFunction | undefined
}

function resolveDriverOptions(read: OptionReader, url: MysqlUrl | undefined): Readonly<Record<string, unknown>> {
  const driverOptions: Record<string, unknown> = {
    user: read.string('user') ?? url?.user,
    password: read.string('password') ?? url?.password,
    database: read.string('database') ?? url?.database,
  }
  if (url?.charset !== undefined) driverOptions['charset'] = url.charset
  if (url !== undefined && Object.keys(url.tlsFiles).length > 0) driverOptions['ssl'] = readTlsFiles(read, url)
  for (const name of PASS_THROUGH) {
    const value = read.raw(name)
    if (value !== undefined) driverOptions[name] = value
  }
  const problem = driverOptionsProblem(driverOptions)
  if (problem !== undefined) throw new InvalidOptionError('driver options', `are refused by mysql2: ${problem}`)
  return Object.freeze(driverOptions)
}

function readTlsFiles(read: OptionReader, url: MysqlUrl): Record<string, Buffer> {
  return Object.fromEntries(
    Object.entries(url.tlsFiles).map(([name, path]) => {
      try {
        return [name, readFileSync(path)]
      } catch (error) {
        throw read.problem('url', `names a file for ssl_${name} that cannot be read: ${errorText(error)}`)
      }
    }),
  )
}

/**
 * The longest failover to expect of this client: an idle writer dies right after a probe, every probe runs into its
 * limit, and the next writer has no warm connection. @internal
 */
export function maxFailoverMs(options: ResolvedMysqlPoolOptions): number {
  const { probeIntervalMs, probeTimeoutMs, probeMisses, connectTimeoutMs } = options
  return probeIntervalMs + probeTimeoutMs * probeMisses + connectTimeoutMs
}
