import type { AvailabilityStatus } from '../core/availability.js'
import { Client, type ClientState } from '../core/client.js'
import { NoEndpointError, TimeoutError, type ClosedError } from '../core/errors.js'
import type { CommonEvents, FailoverEvent } from '../core/events.js'
import type { WaitOptions } from '../core/time-limit.js'
import { Deferred, now } from '../core/timing.js'
import { classify } from './classify.js'
import { PoolConnection, wasNotSent, withOutcome, type Queryable } from './connection.js'
import { sameComponent } from './election.js'
import { NoWriterError, type HostReason } from './errors.js'
import { Gate, type Role } from './gate.js'
import { Lease } from './lease.js'
import type { NodePoolStatus } from './node-pool.js'
import { Node } from './node.js'
import type { MysqlHostStatus } from './node-status.js'
import { maxFailoverMs, resolveMysqlOptions, type MysqlPoolOptions, type ResolvedMysqlPoolOptions } from './options.js'
import type { QueryResult, Row } from './result.js'
import { isPlainRead, isProvablyRead, isSingleStatement, toStatement, type StatementOptions } from './statement.js'
import { Stop } from './stop.js'
import { runTransaction, type Transaction, type TransactionOptions } from './transaction.js'
import { Writer, type WriterStatus } from './writer.js'

/** A frozen snapshot of a pool. */
export interface MysqlPoolStatus {
  readonly state: ClientState
  readonly availability: AvailabilityStatus
  readonly writer: WriterStatus
  readonly hosts: readonly MysqlHostStatus[]
  /** Callers that wait for a connection. */
  readonly waiting: number
  /** Connections that are checked out. */
  readonly borrowed: number
  /** The longest failover to expect from this client's settings, in milliseconds; the cluster's own pause comes on top. */
  readonly maxFailoverMs: number
}

/** Reads from any node that is in the cluster's present view. */
export interface Reader extends Queryable {
  /** A connection to the least busy node, for reads. */
  getConnection(limits?: WaitOptions): Promise<PoolConnection>
}

/**
 * A pool over the nodes of a Galera cluster (or one plain server): writes go to one node, the same for all clients.
 *
 * When the writer dies, is taken out or refuses writes, new work waits for the next writer instead of failing. Made by
 * {@link createPool}; starts connecting by itself.
 */
export class MysqlPool extends Client<CommonEvents> implements Queryable {
  /** Reads from any Synced node, the least busy first; a read whose node dies is repeated elsewhere. */
  readonly reader: Reader
  readonly #options: ResolvedMysqlPoolOptions
  readonly #nodes: readonly Node[]
  readonly #writer: Writer
  readonly #gate: Gate
  readonly #leases = new Set<Lease>()
  readonly #usable = new Set<Node>()
  #readers: readonly Node[] = []
  readonly #transactions = new Set<Stop>()
  #idle: Deferred<undefined> | undefined

  /** @internal */
  constructor(options: MysqlPoolOptions) {
    super('mysql', 'mysql pool')
    this.#options = resolveMysqlOptions(options)
    this.#nodes = this.#options.hosts.map(
      (host) =>
        new Node(host, this.#options, {
          onChange: (node) => this.#nodeChanged(node),
          onSuspect: (node) => this.#nodeSuspect(node),
          onRoom: () => this.#gate.pump(),
        }),
    )
    this.#writer = new Writer(this.#nodes, this.#options, {
      onServing: (_node, failover) => this.#serving(failover),
      onLost: (cause) => this.setUsable(false, cause),
    })
    this.#gate = new Gate({
      queueLimit: this.#options.queueLimit,
      pick: (role) => this.#pick(role),
      mayUse: (role, node) => (role === 'write' ? this.#writer.current === node : this.#readers.includes(node)),
      checkOut: (role, node) => this.#checkOut(role, node),
      limitMs: (role) => this.#limitMs(role),
      onSettled: () => this.#noteIdle(),
      onExpired: (role, waitedMs, lastError) => this.#expired(role, waitedMs, lastError),
    })
    this.reader = this.#makeReader()
    for (const node of this.#nodes) node.start()
  }

  /**
   * Runs one statement in autocommit on the writer, as mysql2/promise's `query`.
   *
   * Waits for a writer while there is none. A read whose answer was lost is repeated; anything else whose answer was
   * lost rejects with `StatementOutcomeUnknownError`. Limits in the object form bound all of it.
   */
  query<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#autocommit('write', 'query', sql, values, isProvablyRead)
  }

  /** The same with a prepared statement, as mysql2/promise's `execute`. */
  execute<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#autocommit('write', 'execute', sql, values, isProvablyRead)
  }

  /** A connection to the writer, until its `release()`. */
  async getConnection(limits: WaitOptions = {}): Promise<PoolConnection> {
    this.assertOpen()
    return new PoolConnection(await this.#gate.acquire('write', limits))
  }

  /**
   * Runs `body` in a transaction on the writer and commits it.
   *
   * `body` is run again as a whole after a deadlock, a certification failure, a lock wait time-out, or when its
   * connection was lost before COMMIT; so whatever it does outside the database must bear that. When the answer to
   * COMMIT is lost it rejects with `CommitOutcomeUnknownError` and is not run again. What `body` throws is thrown, after
   * a rollback.
   *
   * A statement of `body` that would begin another transaction is refused with `TransactionEndedError`. A stored
   * procedure must not commit: when it fails afterwards that cannot be noticed, and `body` is run again.
   */
  async transaction<T>(body: (tx: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    this.assertOpen()
    const acquire = (limits: WaitOptions): Promise<Lease> => this.#gate.acquire('write', limits)
    const stop = new Stop()
    this.#transactions.add(stop)
    try {
      return await runTransaction({ acquire, options: this.#options }, body, options, stop)
    } finally {
      this.#transactions.delete(stop)
      this.#noteIdle()
    }
  }

  /** What the pool knows now. Holds no password. */
  status(): MysqlPoolStatus {
    return Object.freeze({
      state: this.state,
      availability: this.availability(),
      writer: this.#writer.status(),
      hosts: Object.freeze(this.#nodes.map((node) => node.status())),
      waiting: this.#gate.waiting,
      borrowed: this.#leases.size,
      maxFailoverMs: maxFailoverMs(this.#options),
    })
  }

  /** The same as {@link MysqlPool.close}: mysql2's name. */
  end(): Promise<void> {
    return this.close()
  }

  protected override whyUnusable(): Error {
    return new NoWriterError(this.#reasons())
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
    for (const node of this.#nodes) node.close(reason)
  }

  #makeReader(): Reader {
    return Object.freeze({
      query: <T = Row[]>(sql: string | StatementOptions, values?: unknown) =>
        this.#autocommit<T>('read', 'query', sql, values, isPlainRead),
      execute: <T = Row[]>(sql: string | StatementOptions, values?: unknown) =>
        this.#autocommit<T>('read', 'execute', sql, values, isPlainRead),
      getConnection: async (limits: WaitOptions = {}) => {
        this.assertOpen()
        return new PoolConnection(await this.#gate.acquire('read', limits))
      },
    })
  }

  async #autocommit<T>(
    role: Role,
    method: 'query' | 'execute',
    sql: string | StatementOptions,
    values: unknown,
    isRepeatable: (sql: string) => boolean,
  ): Promise<QueryResult<T>> {
    this.assertOpen()
    const { driver, limits } = toStatement(sql, values)
    const startedAt = now()
    for (let attempt = 1; ; attempt += 1) {
      const left = remaining(limits, startedAt)
      const lease = await this.#gate.acquire(role, left)
      try {
        return (await lease.run(method, driver, remaining(limits, startedAt))) as unknown as QueryResult<T>
      } catch (error) {
        if (!this.#mayRepeat(error, attempt, driver.sql, isRepeatable)) throw withOutcome(error, lease, driver.sql)
      } finally {
        lease.release()
      }
    }
  }

  /** Once per node and once more; the caller's own limit ends it earlier. */
  #mayRepeat(error: unknown, attempt: number, sql: string, isRepeatable: (sql: string) => boolean): boolean {
    if (attempt > this.#nodes.length || error instanceof TimeoutError || this.state === 'closed') return false
    if (wasNotSent(error)) return true
    const { outcome, node } = classify(error)
    if (outcome === 'notExecuted') return node !== 'misconfigured' && isSingleStatement(sql)
    return outcome === 'lost' && isRepeatable(sql)
  }

  #pick(role: Role): Node | undefined {
    if (role === 'write') {
      const node = this.#writer.current
      return node?.pool.hasRoom === true ? node : undefined
    }
    let best: Node | undefined
    for (const node of this.#readers) {
      if (node.pool.hasRoom && (best === undefined || load(node) < load(best))) best = node
    }
    return best
  }

  async #checkOut(role: Role, node: Node): Promise<Lease> {
    const lease = new Lease(node, await node.pool.acquire(), (released) => this.#released(released))
    this.#leases.add(lease)
    if (role === 'write') this.#writer.addLease(lease)
    return lease
  }

  #released(lease: Lease): void {
    this.#leases.delete(lease)
    this.#writer.removeLease(lease)
    this.#gate.pump()
    this.#noteIdle()
  }

  #noteIdle(): void {
    if (this.#isIdle()) this.#idle?.resolve(undefined)
  }

  #isIdle(): boolean {
    return this.#leases.size === 0 && this.#transactions.size === 0 && !this.#gate.isBusy
  }

  #limitMs(role: Role): number {
    const { acquireTimeoutMs, failoverTimeoutMs } = this.#options
    const isHeld = role === 'write' ? this.#writer.current === undefined : this.#readers.length === 0
    return isHeld ? Math.min(acquireTimeoutMs, failoverTimeoutMs) : acquireTimeoutMs
  }

  #expired(role: Role, waitedMs: number, lastError: Error | undefined): Error {
    const reasons = this.#reasons()
    if (role === 'write' && this.#writer.current === undefined) return new NoWriterError(reasons, waitedMs)
    if (role === 'read' && this.#readers.length === 0) {
      return new NoEndpointError(
        'no readable node',
        reasons.map(({ host, state }) => new Error(`${host} ${state}`)),
      )
    }
    const { total, idle, borrowed, connecting } = sum(this.#nodes.map((node) => node.pool.status()))
    const counts = `total=${total} idle=${idle} borrowed=${borrowed} connecting=${connecting} waiting=${this.#gate.waiting}`
    return new TimeoutError('acquire', waitedMs, counts, lastError)
  }

  #reasons(): readonly HostReason[] {
    return this.#nodes.map((node) => ({
      host: node.name,
      state: node.unfitFor('write') ?? 'is fit',
      error: node.lastError,
    }))
  }

  #serving(failover: FailoverEvent | undefined): void {
    this.setUsable(true)
    if (failover !== undefined) this.reportFailover(failover)
    this.#gate.pump()
  }

  #nodeSuspect(node: Node): void {
    for (const other of this.#nodes) if (other !== node) other.askNow()
  }

  #nodeChanged(node: Node): void {
    const candidates = this.#nodes.filter((each) => each.unfitFor('read') === undefined)
    this.#readers = sameComponent(candidates)
    this.#writer.evaluate()
    this.#reportHost(node)
    if (node.unfitFor('read') === undefined) void node.pool.warm()
    if (this.#nodes.every((each) => each.isMisconfigured)) this.#refuse()
    this.#gate.pump()
  }

  /** Every node refuses our credentials: waiting does not mend it, and repeating it locks accounts. */
  #refuse(): void {
    const error = new NoWriterError(this.#reasons())
    this.#gate.rejectAll(error)
    this.failReadiness(error)
  }

  #reportHost(node: Node): void {
    const problem = node.unfitFor('read')
    if (problem === undefined && !this.#usable.has(node)) {
      this.#usable.add(node)
      this.report('hostUp', { host: node.name, cause: undefined })
    } else if (problem !== undefined && this.#usable.delete(node)) {
      const cause = node.state === 'down' ? node.lastError : undefined
      this.report('hostDown', { host: node.name, cause: cause ?? new Error(`${node.name} ${problem}`) })
    }
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

function load(node: Node): number {
  return node.pool.borrowedCount
}

function remaining({ timeoutMs, signal }: WaitOptions, startedAt: number): WaitOptions {
  return { timeoutMs: timeoutMs === undefined ? undefined : Math.max(1, timeoutMs - (now() - startedAt)), signal }
}

function sum(parts: readonly NodePoolStatus[]): NodePoolStatus {
  const total = (name: keyof NodePoolStatus): number => parts.reduce((count, part) => count + part[name], 0)
  return { total: total('total'), idle: total('idle'), borrowed: total('borrowed'), connecting: total('connecting') }
}
