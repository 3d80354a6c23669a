import { Client, DEFAULT_READY_TIMEOUT_MS } from '../core/client.js'
import { InvalidOptionError, NoEndpointError, TimeoutError, type ClosedError } from '../core/errors.js'
import type { CommonEvents, FailoverEvent } from '../core/events.js'
import { assertWanted, type WaitOptions } from '../core/time-limit.js'
import { Deferred, now } from '../core/timing.js'
import { Autocommit } from './autocommit.js'
import { CallbackPoolFace } from './callback-pool.js'
import type { PoolConnection, Queryable } from './connection.js'
import type { CallbackPool } from './driver.js'
import { NoWriterError } from './errors.js'
import { Fence } from './fence.js'
import { Gate, type Role } from './gate.js'
import { handOut } from './hand-out.js'
import { HostReports } from './host-reports.js'
import { borrowerStack, LeakWatch, type LeakEvent } from './leaks.js'
import { Lease } from './lease.js'
import { Nesting } from './nesting.js'
import { Node } from './node.js'
import { NodeList } from './node-list.js'
import { maxFailoverMs, parseHosts, resolveMysqlOptions } from './options.js'
import type { MysqlHost, MysqlHostOption, MysqlPoolOptions, ResolvedMysqlPoolOptions } from './options.js'
import { formatCounts, type MysqlPoolStatus } from './pool-status.js'
import { makeReader, type Reader } from './reader.js'
import { Readers } from './readers.js'
import type { QueryResult, Row } from './result.js'
import type { RowStream } from './row-stream.js'
import type { StatementOptions, StreamOptions } from './statement.js'
import type { Transaction } from './transaction.js'
import { checkTransactionOptions, type TransactionOptions } from './transaction-options.js'
import { runTransaction, type TransactionHost } from './transaction-run.js'
import type { Session } from './session.js'
import { Stop } from './stop.js'
import { Writer } from './writer.js'

/** The events of a {@link MysqlPool}. */
export interface MysqlPoolEvents extends CommonEvents {
  /** A connection is held for longer than `leakDetectionMs`; told once per checkout. */
  leak: [LeakEvent]
}

/**
 * A pool over the nodes of a Galera cluster (or one plain server): writes go to one node, the same for all clients.
 *
 * When the writer dies, is taken out or refuses writes, new work waits for the next writer instead of failing. Made by
 * {@link createPool}; starts connecting by itself.
 */
export class MysqlPool extends Client<MysqlPoolEvents> implements Queryable {
  /** Reads from any Synced node, the least busy first; a read whose node dies is repeated elsewhere. */
  readonly reader: Reader
  readonly #options: ResolvedMysqlPoolOptions
  readonly #nodes: NodeList
  readonly #writer: Writer
  readonly #gate: Gate
  readonly #autocommit: Autocommit
  readonly #fence: Fence
  readonly #nesting: Nesting
  readonly #leaks: LeakWatch | undefined
  readonly #leases = new Set<Lease>()
  readonly #readers = new Readers()
  readonly #reports = new HostReports(this.#readers, (name, event) => this.report(name, event))
  readonly #transactions = new Set<Stop>()
  #callbackPool: CallbackPool | undefined
  readonly #faces: CallbackPoolFace[] = []
  #idle: Deferred<undefined> | undefined

  /** @internal */
  constructor(options: MysqlPoolOptions) {
    super('mysql', 'mysql pool')
    this.#options = resolveMysqlOptions(options)
    this.#nodes = new NodeList(this.#options.hosts, this.#options.drainTimeoutMs, (host) => this.#makeNode(host))
    this.#writer = new Writer(this.#nodes.current, this.#options, {
      onServing: (_node, failover) => this.#serving(failover),
      onLost: (cause) => this.#held(cause),
    })
    this.#gate = new Gate({
      queueLimit: this.#options.queueLimit,
      pick: (role) => this.#pick(role),
      mayUse: (role, node) => (role === 'write' ? this.#writer.current === node : this.#readers.has(node)),
      checkOutReady: (role) => this.#checkOutReady(role),
      checkOut: (role, node) => this.#checkOut(role, node),
      acquireTimeoutMs: this.#options.acquireTimeoutMs,
      failoverTimeoutMs: this.#options.failoverTimeoutMs,
      isHeld: (role) => this.#isHeld(role),
      onSettled: () => this.#noteIdle(),
      onExpired: (role, waitedMs, lastError) => this.#expired(role, waitedMs, lastError),
    })
    this.#autocommit = new Autocommit({
      assertTaken: () => this.#assertTaken(),
      acquire: (role, limits) => this.#acquire(role, limits),
      onIdle: () => this.#noteIdle(),
      // Once per node and once more; the caller's own limit ends it earlier.
      mayRepeat: (attempt) => attempt <= this.#nodes.current.length && this.state !== 'closed',
    })
    this.#fence = new Fence({
      database: this.#options.driverOptions['database'] as string | undefined,
      user: this.#options.driverOptions['user'] as string | undefined,
      hostCount: () => this.#nodes.current.length,
      verdictTimeoutMs: this.#options.failoverTimeoutMs,
      acquire: async (limits) => this.#gate.acquire('write', limits),
    })
    this.#nesting = new Nesting(this.#options)
    const { leakDetectionMs } = this.#options
    if (leakDetectionMs > 0) this.#leaks = new LeakWatch(leakDetectionMs, (leak) => this.report('leak', leak))
    this.reader = makeReader({
      autocommit: this.#autocommit,
      getConnection: (limits) => this.#getConnection('read', limits),
      makeCallbackPool: () => this.#makeCallbackPool('read'),
    })
    for (const node of this.#nodes.current) node.start()
  }

  /**
   * Runs one statement in autocommit on the writer, as mysql2/promise's `query`.
   *
   * Waits for a writer while there is none. A read whose answer was lost is repeated; anything else whose answer was
   * lost rejects with `StatementOutcomeUnknownError`. Limits in the object form bound all of it.
   */
  query<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#autocommit.statement('write', 'query', sql, values)
  }

  /** The same with a prepared statement, as mysql2/promise's `execute`. */
  execute<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#autocommit.statement('write', 'execute', sql, values)
  }

  /**
   * Runs one statement on the writer and returns its rows as a stream, on a connection of its own until its end.
   *
   * When the connection is lost before the first row a read is repeated, afterwards the stream is destroyed with the error.
   */
  stream<T = Row>(sql: string | StreamOptions, values?: unknown): RowStream<T> {
    return this.#autocommit.stream<T>('write', sql, values)
  }

  /** A connection to the writer, until its `release()`. */
  getConnection(limits: WaitOptions = {}): Promise<PoolConnection> {
    return this.#getConnection('write', limits)
  }

  /** Gives a connection back, as mysql2's pool. */
  releaseConnection(connection: PoolConnection): void {
    connection.release()
  }

  /** `sql` with its placeholders filled in, as `query` sends it. */
  format(sql: string, values?: unknown): string {
    return this.callbackPool.format(sql, values)
  }

  /** A value as it stands in SQL. */
  escape(value: unknown): string {
    return this.callbackPool.escape(value)
  }

  /** A name, or a list of names, as it stands in SQL. */
  escapeId(name: string | string[]): string {
    return this.callbackPool.escapeId(name as string)
  }

  /**
   * The same pool with callbacks: mysql2's `Pool`, for what takes that (Kysely, Drizzle, Knex and the like).
   *
   * Its connections stay the same objects for as long as they live. A statement without a callback has mysql2's events,
   * and a stream of it fails when its connection is lost. `timeout` cuts the connection, as `timeoutMs` does.
   */
  get callbackPool(): CallbackPool {
    this.#callbackPool ??= this.#makeCallbackPool('write')
    return this.#callbackPool
  }

  /** The same as {@link MysqlPool.callbackPool}, under mysql2/promise's name. */
  get pool(): CallbackPool {
    return this.callbackPool
  }

  /**
   * Runs `body` in a transaction on the writer and commits it.
   *
   * `body` is run again as a whole after a deadlock, a certification failure, a lock wait time-out, or when its
   * connection was lost before COMMIT; so whatever it does outside the database must bear that. When the answer to
   * COMMIT is lost it rejects with `CommitOutcomeUnknownError` and is not run again; with `exactlyOnce` the commit fence
   * finds out what happened instead. What `body` throws is thrown, after a rollback.
   *
   * It begins with the first statement of `body`; with the fence, an isolation level or `readOnly` before that. Without
   * a statement there is nothing to commit.
   *
   * What `body` asks of the pool beside `tx` (a connection, a query, a transaction inside) goes to the same node while
   * that is the writer. With `followTransactions` it rejects after a change of the writer, and `body` is run again.
   */
  async transaction<T>(body: (tx: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    this.#assertTaken()
    checkTransactionOptions(options)
    const host: TransactionHost = {
      acquire: async (limits) => this.#acquire('write', limits),
      run: (tx, run) => this.#nesting.run(tx, run),
      options: this.#options,
      fence: this.#fence,
    }
    const stop = new Stop()
    this.#transactions.add(stop)
    try {
      return await runTransaction(host, body, options, stop)
    } finally {
      this.#transactions.delete(stop)
      this.#noteIdle()
    }
  }

  /**
   * Waits until a host is usable, and with `exactlyOnce` until the table of the commit fence is there: see
   * {@link Client.ready}. Rejects with `FenceUnavailableError` when it cannot be.
   */
  override async ready(options: WaitOptions = {}): Promise<void> {
    const startedAt = now()
    await super.ready(options)
    if (!this.#options.exactlyOnce) return
    const { timeoutMs = DEFAULT_READY_TIMEOUT_MS, signal } = options
    await this.#fence.prepare({ timeoutMs: Math.max(1, timeoutMs - (now() - startedAt)), signal })
  }

  /**
   * Changes the host list while the pool runs: same forms as the option `hosts`, and like it in order of preference.
   *
   * A host that stays keeps its connections and its history; a new one is asked for its state first. On a host that is
   * removed nothing new starts, and what runs there has `drainTimeoutMs` to finish. When it was the writer, writes are
   * held until there is the next one; a new order alone moves the writer as a failback does.
   * @throws InvalidOptionError for a list that cannot work; nothing has changed then.
   */
  setHosts(hosts: readonly (string | MysqlHostOption)[]): void {
    this.assertOpen()
    if (!Array.isArray(hosts)) throw new InvalidOptionError('hosts', 'must be a list')
    const { added, removed } = this.#nodes.replace(parseHosts(hosts, 'hosts'))
    this.#writer.setNodes(this.#nodes.current)
    for (const node of removed) void this.#nodes.dismiss(node)
    for (const node of added) node.start()
    this.#readers.survey(this.#nodes.current)
    this.#writer.evaluate()
    for (const node of removed) this.#reports.note(node)
    this.#gate.pump()
  }

  /**
   * Ends the statement that runs on one of the pool's connections (`KILL QUERY`), or the connection, at its own node: ids
   * of other nodes are the same numbers. Resolves when that was done, or when nothing was there to end.
   */
  async kill(
    connection: Pick<PoolConnection, 'host' | 'threadId'>,
    what: 'query' | 'connection' = 'query',
    limits: WaitOptions = {},
  ): Promise<void> {
    const { timeoutMs = this.#options.probeTimeoutMs, signal } = limits
    await this.#nodes.find(connection.host)?.end(connection.threadId, what, { timeoutMs, signal })
  }

  /** What the pool knows now. Holds no password. */
  status(): MysqlPoolStatus {
    return Object.freeze({
      state: this.state,
      availability: this.availability(),
      writer: this.#writer.status(),
      hosts: Object.freeze(this.#nodes.current.map((node) => node.status(this.#reports.unfit(node)))),
      waiting: this.#gate.waiting,
      borrowed: this.#leases.size,
      fence: this.#fence.status(),
      maxFailoverMs: maxFailoverMs(this.#options),
    })
  }

  /** The same as {@link MysqlPool.close}: mysql2's name. */
  end(): Promise<void> {
    return this.close()
  }

  protected override whyUnusable(): Error {
    return new NoWriterError(this.#reports.reasons(this.#nodes.current))
  }

  protected override async drain(): Promise<void> {
    if (this.#isIdle()) return
    this.#idle = new Deferred()
    await this.#idle.promise
  }

  protected override teardown(reason: ClosedError): void {
    for (const stop of this.#transactions) stop.stop(reason)
    this.#gate.close(reason)
    this.#writer.close()
    this.#leaks?.close()
    this.#nodes.close(reason)
  }

  #makeNode(host: MysqlHost): Node {
    return new Node(host, this.#options, {
      onChange: (node) => this.#nodeChanged(node),
      onSuspect: (node) => this.#nodeSuspect(node),
      onRoom: () => this.#gate.pump(),
    })
  }

  #makeCallbackPool(role: Role): CallbackPool {
    const face = new CallbackPoolFace({
      role,
      driverOptions: this.#options.driverOptions,
      acquire: () => {
        this.#assertTaken()
        return this.#acquire(role, {})
      },
      autocommit: this.#autocommit,
      end: () => this.close(),
      promise: () => (role === 'write' ? this : this.reader),
    })
    this.#faces.push(face)
    return face as unknown as CallbackPool
  }

  async #getConnection(role: Role, limits: WaitOptions): Promise<PoolConnection> {
    this.#assertTaken()
    assertWanted(limits)
    return handOut(await this.#acquire(role, limits)).connection
  }

  /** What runs when the pool is closed may still ask for what it needs to end well. */
  #assertTaken(): void {
    if (this.state !== 'closing' || !this.#nesting.isInside) this.assertOpen()
  }

  #acquire(role: Role, limits: WaitOptions): Lease | Promise<Lease> {
    const acquire = (wait: WaitOptions): Lease | Promise<Lease> => this.#gate.acquire(role, wait)
    const lease = role === 'read' ? acquire(limits) : this.#nesting.checkOut(acquire, limits)
    return this.#leaks === undefined ? lease : this.#leaks.start(lease, borrowerStack())
  }

  #pick(role: Role): Node | undefined {
    if (role === 'read') return this.#readers.pick()
    const node = this.#writer.current
    return node?.pool.hasRoom === true ? node : undefined
  }

  #checkOutReady(role: Role): Lease | undefined {
    const node = this.#pick(role)
    const session = node?.pool.takeReady()
    return node === undefined || session === undefined ? undefined : this.#lend(role, node, session)
  }

  async #checkOut(role: Role, node: Node): Promise<Lease> {
    return this.#lend(role, node, await node.pool.acquire())
  }

  #lend(role: Role, node: Node, session: Session): Lease {
    const lease = new Lease(node, session, this.#onReleased)
    this.#leases.add(lease)
    if (role === 'write') this.#writer.addLease(lease)
    for (const face of this.#faces) face.announce(lease)
    return lease
  }

  readonly #onReleased = (lease: Lease): void => {
    this.#leases.delete(lease)
    this.#leaks?.end(lease)
    this.#writer.removeLease(lease)
    this.#noteIdle()
  }

  #noteIdle(): void {
    if (this.#isIdle()) this.#idle?.resolve(undefined)
  }

  #isIdle(): boolean {
    return this.#leases.size === 0 && this.#transactions.size === 0 && !this.#gate.isBusy && !this.#autocommit.isBusy
  }

  #isHeld(role: Role): boolean {
    return role === 'write' ? this.#writer.current === undefined : this.#readers.isEmpty
  }

  #expired(role: Role, waitedMs: number, lastError: Error | undefined): Error {
    const reasons = this.#reports.reasons(this.#nodes.current)
    if (role === 'write' && this.#isHeld(role)) return new NoWriterError(reasons, waitedMs)
    if (role === 'read' && this.#isHeld(role)) {
      return new NoEndpointError(
        'no readable node',
        reasons.map(({ host, state }) => new Error(`${host} ${state}`)),
      )
    }
    const pools = this.#nodes.current.map((node) => node.pool.status())
    const counts = formatCounts(pools, this.#gate.waiting, this.#transactions.size)
    return new TimeoutError('acquire', waitedMs, counts, lastError)
  }

  #serving(failover: FailoverEvent | undefined): void {
    this.setUsable(true)
    if (failover !== undefined) this.reportFailover(failover)
    this.#gate.pump()
  }

  #held(cause: Error): void {
    this.setUsable(false, cause)
    this.#gate.hold('write')
  }

  #nodeSuspect(node: Node): void {
    for (const other of this.#nodes.current) if (other !== node) other.askNow()
  }

  #nodeChanged(node: Node): void {
    this.#readers.survey(this.#nodes.current)
    this.#writer.evaluate()
    if (this.#readers.isEmpty) this.#gate.hold('read')
    this.#reports.note(node)
    if (node.unfitFor('read') === undefined) void node.pool.warm()
    if (this.#nodes.current.every((each) => each.isMisconfigured)) this.#refuse()
    this.#gate.pump()
  }

  /** Every node refuses our credentials: waiting does not mend it, and repeating it locks accounts. */
  #refuse(): void {
    const error = new NoWriterError(this.#reports.reasons(this.#nodes.current))
    this.#gate.rejectAll(error)
    this.failReadiness(error)
  }
}

/**
 * Makes a pool over the nodes of a Galera cluster. Starts connecting by itself.
 *
 * Options given in code win over environment variables, which win over defaults.
 * @throws InvalidOptionError for an option that cannot work.
 */
export function createPool(options: MysqlPoolOptions = {}): MysqlPool {
  return new MysqlPool(options)
}
