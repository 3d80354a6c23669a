import { isHAError, toError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import { abortReason } from '../core/timing.js'
import { classify } from './classify.js'
import { CommitOutcomeUnknownError, StatementOutcomeUnknownError } from './errors.js'
import type { Lease } from './lease.js'
import type { QueryResult, Row } from './result.js'
import { rowStream, type RowSink, type RowStream } from './row-stream.js'
import { cannotCommit, isProvablyRead, toStatement, type StatementOptions, type StreamOptions } from './statement.js'

/** Runs statements; what the pool, its connections and its transactions have in common. */
export interface Queryable {
  /**
   * Sends a statement as text, as mysql2's `query`.
   *
   * `timeoutMs` and `signal` in the object form end the wait; the connection is cut then, and a write may have happened.
   */
  query<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>>
  /** Sends a statement as a prepared one, as mysql2's `execute`. Limits as in {@link Queryable.query}. */
  execute<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>>
  /**
   * Sends a statement as text and returns its rows as a stream, for results that do not fit into memory.
   *
   * The connection is taken until the server has sent the last row, and until then refuses other statements with
   * `StreamOpenError`. A reader that leaves early costs the connection when much is left.
   */
  stream<T = Row>(sql: string | StreamOptions, values?: unknown): RowStream<T>
}

/**
 * A connection that was checked out of the pool, for one caller until `release()`.
 *
 * It stays on its node: when the node dies or stops being the writer the connection is cut, and what runs on it rejects
 * with `ConnectionLostError`, or with {@link StatementOutcomeUnknownError} when a write in autocommit may have happened.
 */
export class PoolConnection implements Queryable {
  readonly #lease: Lease

  /** @internal */
  constructor(lease: Lease) {
    this.#lease = lease
  }

  /** `host:port` of the node. */
  get host(): string {
    return this.#lease.node.name
  }

  /** The node's own id of the connection, for `KILL` on that node. */
  get threadId(): number {
    return this.#lease.connection.threadId
  }

  query<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return runOn(this.#lease, 'query', sql, values)
  }

  execute<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return runOn(this.#lease, 'execute', sql, values)
  }

  stream<T = Row>(sql: string | StreamOptions, values?: unknown): RowStream<T> {
    const { driver, limits, highWaterMark } = toStatement(sql, values)
    const fill = (sink: RowSink): Promise<void> => this.#lease.stream(driver, sink, limits)
    return rowStream<T>((sink) => judged(this.#lease, driver.sql, () => fill(sink)), highWaterMark)
  }

  /** Begins a transaction. */
  async beginTransaction(): Promise<void> {
    await runOn(this.#lease, 'query', 'START TRANSACTION')
  }

  /** Commits. Rejects with {@link CommitOutcomeUnknownError} when the answer was lost. */
  async commit(limits: WaitOptions = {}): Promise<void> {
    await commit(this.#lease, limits)
  }

  /** Rolls back. Resolves on a connection that is lost, too: there is nothing left to roll back. */
  async rollback(): Promise<void> {
    if (this.#lease.connection.lost !== undefined) return
    try {
      await this.#lease.run('query', { sql: 'ROLLBACK' })
    } catch (error) {
      if (classify(error).outcome !== 'lost') throw error
    }
  }

  /** Gives the connection back; a transaction left open is rolled back. A second call does nothing. */
  release(): void {
    this.#lease.release()
  }

  /** Cuts the connection instead of giving it back; what runs on it rejects with `error`. */
  destroy(error: Error = new Error('the connection was destroyed by its user')): void {
    this.#lease.cut(error)
    this.#lease.release()
  }

  /** {@link PoolConnection.release}, for `using`. */
  [Symbol.dispose](): void {
    this.release()
  }
}

/** Runs one statement of a caller on a lease. @internal */
export async function runOn<T>(
  lease: Lease,
  method: 'query' | 'execute',
  sql: string | StatementOptions,
  values?: unknown,
): Promise<QueryResult<T>> {
  const { driver, limits } = toStatement(sql, values)
  return (await judged(lease, driver.sql, () => lease.run(method, driver, limits))) as unknown as QueryResult<T>
}

async function judged<R>(lease: Lease, sql: string, send: () => Promise<R>): Promise<R> {
  const wasInTransaction = lease.isInTransaction
  try {
    return await send()
  } catch (error) {
    throw withOutcome(error, lease, sql, wasInTransaction)
  }
}

/**
 * Says "unknown" of a statement whose answer was lost and that may have changed data for good: any but a read in
 * autocommit, and within a transaction one that may have committed it. Other errors stay as they are. @internal
 */
export function withOutcome(error: unknown, lease: Lease, sql: string, wasInTransaction = false): unknown {
  if (!isUnknown(error) || isTimeLimit(error) || wasNotSent(error)) return error
  if (wasInTransaction)
    return cannotCommit(sql) ? error : new CommitOutcomeUnknownError(lease.node.name, toError(error))
  return isProvablyRead(sql) ? error : new StatementOutcomeUnknownError(lease.node.name, toError(error))
}

/** Sends COMMIT; unless the server itself says what became of it, it is {@link CommitOutcomeUnknownError}. @internal */
export async function commit(lease: Lease, limits: WaitOptions = {}): Promise<void> {
  const lostBefore = lease.connection.lost
  if (lostBefore !== undefined) throw lostBefore
  if (limits.signal?.aborted === true) throw abortReason(limits.signal)
  try {
    await lease.commit(limits)
  } catch (error) {
    throw isVerdict(error) || wasNotSent(error) ? error : new CommitOutcomeUnknownError(lease.node.name, toError(error))
  }
}

/** True for an answer of the server after which the transaction is surely not committed. */
function isVerdict(error: unknown): boolean {
  const { errno, sqlState } = error as { errno?: unknown; sqlState?: unknown }
  const isAnswer = typeof errno === 'number' && errno > 0 && typeof sqlState === 'string'
  return isAnswer && !isUnknown(error)
}

/** True when the statement that gave this error may have happened. */
function isUnknown(error: unknown): boolean {
  const { outcome } = classify(error)
  return outcome === 'lost' || outcome === 'interrupted'
}

/** True when no byte of the statement can have reached the server. @internal */
export function wasNotSent(error: unknown): boolean {
  return isHAError(error) && error.safeToRetry
}

/** The caller's own limit is reported as what it is; its documentation says that the statement may have happened. */
function isTimeLimit(error: unknown): boolean {
  return isHAError(error) && error.code === 'HA_TIMEOUT'
}
