import { backoffDelay } from '../core/backoff.js'
import { TimeoutError, toError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { abortReason, sleep } from '../core/timing.js'
import { classify, isRerunnable, type Outcome } from './classify.js'
import { commit, withOutcome, type Queryable } from './connection.js'
import {
  CommitOutcomeUnknownError,
  StatementOutcomeUnknownError,
  StreamOpenError,
  TransactionEndedError,
} from './errors.js'
import type { Lease } from './lease.js'
import type { ResolvedMysqlPoolOptions } from './options.js'
import type { QueryResult, Row } from './result.js'
import { rowStream, type RowSink, type RowStream } from './row-stream.js'
import { toStatement, type Statement, type StatementOptions, type StreamOptions } from './statement.js'

/** Options of `pool.transaction`. */
export interface TransactionOptions extends WaitOptions {
  /** How often the function is run again at most. @default the pool's `maxRetries`, 20 */
  readonly maxRetries?: number
  readonly isolationLevel?: 'READ UNCOMMITTED' | 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE'
  /** The server refuses writes. */
  readonly readOnly?: boolean
}

/**
 * A running transaction, handed to the function given to `pool.transaction`.
 *
 * All statements run on one connection of one node. After an error that ends the transaction on the server (a deadlock,
 * a lost connection) every further call rejects: it would run outside the transaction.
 */
export class Transaction implements Queryable {
  readonly #lease: Lease
  readonly #signal: AbortSignal
  #tail: Promise<unknown> = Promise.resolve()
  #ended: TransactionEndedError | undefined
  #isOver = false
  #failure: { readonly error: unknown; readonly outcome: Outcome } | undefined

  /** @internal */
  constructor(lease: Lease, signal: AbortSignal) {
    this.#lease = lease
    this.#signal = signal
  }

  /** `host:port` of the node it runs on. */
  get host(): string {
    return this.#lease.node.name
  }

  /** Aborted when the transaction's limit runs out, its caller gives up, or the pool is destroyed. */
  get signal(): AbortSignal {
    return this.#signal
  }

  query<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#queue('query', sql, values)
  }

  execute<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#queue('execute', sql, values)
  }

  /**
   * The rows of a SELECT as a stream. As with a connection: read it to its end, or leave it, before the next statement.
   * A reader that leaves when much is left ends the transaction: use LIMIT.
   */
  stream<T = Row>(sql: string | StreamOptions, values?: unknown): RowStream<T> {
    const statement = toStatement(sql, values)
    return rowStream<T>((sink) => this.#stream(statement, sink), statement.highWaterMark)
  }

  /** Waits for statements that were started and not awaited, and throws when the transaction is over already. @internal */
  async settle(): Promise<void> {
    await this.#tail
    this.#assertAlive()
    if (this.#lease.isStreaming) throw new StreamOpenError(this.#lease.node.name)
  }

  /** Refuses further statements, and waits for the one that runs. @internal */
  async end(): Promise<void> {
    this.#isOver = true
    this.#ended ??= new TransactionEndedError('it was committed or rolled back')
    await this.#tail
  }

  /** True once the function that it was handed to has ended. @internal */
  get isOver(): boolean {
    return this.#isOver
  }

  /** True when its connection is gone, so that it cannot be committed any more. @internal */
  get isLost(): boolean {
    return this.#lease.connection.lost !== undefined
  }

  /** Takes note of work of the function, beside this connection, that failed because the writer changed. @internal */
  fail(error: Error): void {
    this.#failure ??= { error, outcome: 'lost' }
  }

  /** What `error`, with which the function ended, allows: `statementFailed` unless all of it can be run again. @internal */
  outcomeOf(error: unknown): Outcome {
    const failure = this.#failure
    if (failure === undefined || this.#ended !== undefined) return 'statementFailed'
    // After a lock wait time-out the transaction is still open: only the caller knows whether the function went on.
    return failure.outcome === 'lockWait' && !hasCause(error, failure.error) ? 'statementFailed' : failure.outcome
  }

  #queue<T>(method: 'query' | 'execute', sql: string | StatementOptions, values: unknown): Promise<QueryResult<T>> {
    return this.#inTurn(() => {
      const { driver, limits } = toStatement(sql, values)
      return this.#run(driver.sql, () => this.#lease.run(method, driver, limits)) as unknown as Promise<QueryResult<T>>
    })
  }

  /** Its turn is over when it is sent: what comes next is refused by the connection instead of waiting for a reader. */
  async #stream({ driver, limits }: Statement, sink: RowSink): Promise<void> {
    const sent = this.#inTurn(() => ({ done: this.#run(driver.sql, () => this.#lease.stream(driver, sink, limits)) }))
    await (
      await sent
    ).done
  }

  /** One after the other: after a deadlock the server would run the next one outside the transaction. */
  #inTurn<R>(start: () => R | Promise<R>): Promise<R> {
    const failureBefore = this.#failure
    const turn = this.#tail.then(() => {
      const failure = this.#failure
      // Asked for before the failure, as with Promise.all: the caller has not swallowed anything.
      if (failure !== failureBefore && (failure?.outcome === 'lost' || failure?.outcome === 'rolledBack')) {
        throw failure.error
      }
      this.#assertAlive()
      return start()
    })
    this.#tail = turn.catch(() => undefined)
    return turn
  }

  async #run<R>(sql: string, send: () => Promise<R>): Promise<R> {
    try {
      const result = await send()
      if (!this.#lease.isInTransaction) {
        this.#ended ??= new TransactionEndedError('a statement committed or rolled it back')
      }
      return result
    } catch (error) {
      const told = withOutcome(error, this.#lease, sql, true)
      const { outcome, node } = classify(told)
      // The caller's own limit is its decision, and a privilege that is missing will be missing again.
      const isFinal =
        told instanceof TimeoutError || told instanceof StatementOutcomeUnknownError || node === 'misconfigured'
      if (outcome !== 'statementFailed' && !isFinal) this.#failure = { error: told, outcome }
      throw told
    }
  }

  #assertAlive(): void {
    if (this.#ended === undefined && !this.#lease.isInTransaction) {
      const cause = this.#failure === undefined ? undefined : toError(this.#failure.error)
      const reason = cause === undefined ? 'a statement committed or rolled it back' : cause.message
      this.#ended = new TransactionEndedError(reason, cause)
    }
    if (this.#ended !== undefined) throw this.#ended
  }
}

/** What {@link runTransaction} needs of the pool. @internal */
export interface TransactionHost {
  readonly acquire: (limits: WaitOptions) => Promise<Lease>
  /** Runs the function. */
  readonly run: <T>(tx: Transaction, body: Body<T>) => Promise<T>
  readonly options: Pick<ResolvedMysqlPoolOptions, 'maxRetries' | 'retryIntervalMs' | 'maxRetryIntervalMs'>
  /** Aborted when the pool is destroyed. */
  readonly closed: AbortSignal
}

type Body<T> = (tx: Transaction) => Promise<T>
type Attempt<T> =
  { readonly value: T } | { readonly error: unknown; readonly outcome: Outcome; readonly isBusy: boolean }

/**
 * Runs `body` in a transaction until it is committed, or until an error that running it again cannot mend.
 *
 * A lost connection runs it again at once (there is a new writer), a deadlock after a pause. What is not known to have
 * failed is never repeated, and when the caller's limit cuts a COMMIT short its outcome is unknown. @internal
 */
export async function runTransaction<T>(host: TransactionHost, body: Body<T>, options: TransactionOptions): Promise<T> {
  const stop = new AbortController()
  const outside = options.signal === undefined ? host.closed : AbortSignal.any([host.closed, options.signal])
  const run = new TransactionRun(host, body, options, AbortSignal.any([stop.signal, outside]))
  const late = (elapsedMs: number): Error => run.interrupted(new TimeoutError('operation', elapsedMs, 'transaction'))
  try {
    return await waitWithin(run.repeat(), { timeoutMs: options.timeoutMs, signal: outside }, late, (reason) =>
      stop.abort(reason),
    )
  } catch (error) {
    throw outside.aborted ? run.interrupted(error) : error
  }
}

class TransactionRun<T> {
  readonly #host: TransactionHost
  readonly #body: Body<T>
  readonly #options: TransactionOptions
  readonly #signal: AbortSignal
  /** The node that was sent a COMMIT and has not answered. */
  #committingOn: string | undefined

  constructor(host: TransactionHost, body: Body<T>, options: TransactionOptions, signal: AbortSignal) {
    this.#host = host
    this.#body = body
    this.#options = options
    this.#signal = signal
  }

  /** What the caller is told who gives up now, for `reason`. */
  interrupted<E>(reason: E): E | CommitOutcomeUnknownError {
    if (this.#committingOn === undefined || reason instanceof CommitOutcomeUnknownError) return reason
    return new CommitOutcomeUnknownError(this.#committingOn, toError(reason))
  }

  async repeat(): Promise<T> {
    const { retryIntervalMs, maxRetryIntervalMs, maxRetries: poolRetries } = this.#host.options
    const { maxRetries = poolRetries } = this.#options
    const backoff = { initialMs: retryIntervalMs, factor: 2, maxMs: maxRetryIntervalMs }
    for (let attempt = 1, conflicts = 0; ; attempt += 1) {
      const lease = await this.#host.acquire({ signal: this.#signal })
      const result = await this.#attempt(lease)
      if ('value' in result) return result.value
      if (attempt > maxRetries || !isRerunnable(result.outcome) || this.#signal.aborted) throw result.error
      if (result.isBusy || result.outcome === 'rolledBack' || result.outcome === 'lockWait') {
        conflicts += 1
        await sleep(backoffDelay(conflicts, backoff), this.#signal)
      }
    }
  }

  /** One run of the function; `statementFailed` stands for everything that must not be run again. */
  async #attempt(lease: Lease): Promise<Attempt<T>> {
    const tx = new Transaction(lease, this.#signal)
    const onAbort = (): void => lease.cut(abortReason(this.#signal))
    this.#signal.addEventListener('abort', onAbort, { once: true })
    let isInBody = false
    try {
      if (this.#signal.aborted) throw abortReason(this.#signal)
      await this.#begin(lease)
      isInBody = true
      const value = await this.#host.run(tx, this.#body)
      await tx.settle()
      isInBody = false
      await this.#commit(lease)
      return { value }
    } catch (error) {
      const outcome = isInBody ? tx.outcomeOf(error) : outcomeOf(error)
      return { error, outcome, isBusy: classify(error).node === 'busy' }
    } finally {
      this.#signal.removeEventListener('abort', onAbort)
      await tx.end()
      lease.release()
    }
  }

  async #begin(lease: Lease): Promise<void> {
    const { isolationLevel, readOnly } = this.#options
    if (isolationLevel !== undefined) {
      await lease.run('query', { sql: `SET TRANSACTION ISOLATION LEVEL ${isolationLevel}` })
    }
    await lease.run('query', { sql: readOnly === true ? 'START TRANSACTION READ ONLY' : 'START TRANSACTION' })
  }

  async #commit(lease: Lease): Promise<void> {
    if (this.#signal.aborted) throw abortReason(this.#signal)
    this.#committingOn = lease.node.name
    try {
      await commit(lease)
    } catch (error) {
      // Known again, unless it is what makes it unknown.
      if (!(error instanceof CommitOutcomeUnknownError)) this.#committingOn = undefined
      throw error
    }
    this.#committingOn = undefined
  }
}

/** Of BEGIN and COMMIT: what is unknown, what ended before its COMMIT, and what is refused for good is never repeated. */
function outcomeOf(error: unknown): Outcome {
  if (error instanceof TransactionEndedError || error instanceof StatementOutcomeUnknownError) return 'statementFailed'
  // A limit of the caller's within the function cut the connection: running it again would run into it again.
  if (error instanceof TimeoutError) return 'statementFailed'
  const { outcome, node } = classify(error)
  return node === 'misconfigured' ? 'statementFailed' : outcome
}

function hasCause(error: unknown, wanted: unknown): boolean {
  for (let link = error; link !== undefined && link !== null; link = (link as { cause?: unknown }).cause) {
    if (link === wanted) return true
  }
  return false
}
