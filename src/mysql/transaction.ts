import { backoffDelay } from '../core/backoff.js'
import { TimeoutError, toError } from '../core/errors.js'
import { TimeLimit, type WaitOptions } from '../core/time-limit.js'
import { abortReason, now, onAbort, sleep } from '../core/timing.js'
import { classify, isRerunnable, type Outcome } from './classify.js'
import { commit, withOutcome, type Queryable } from './connection.js'
import { CommitOutcomeUnknownError, StatementOutcomeUnknownError, TransactionEndedError } from './errors.js'
import type { Lease } from './lease.js'
import type { ResolvedMysqlPoolOptions } from './options.js'
import type { QueryResult, Row } from './result.js'
import { beginsAnother, cannotCommit, isCall, toStatement, type StatementOptions } from './statement.js'
import type { Stop } from './stop.js'

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
  readonly #stop: Stop
  #tail: Promise<unknown> = Promise.resolve()
  #ended: TransactionEndedError | StatementOutcomeUnknownError | undefined
  #isOver = false
  #failure: { readonly error: unknown; readonly outcome: Outcome } | undefined

  /** @internal */
  constructor(lease: Lease, stop: Stop) {
    this.#lease = lease
    this.#stop = stop
  }

  /** `host:port` of the node it runs on. */
  get host(): string {
    return this.#lease.node.name
  }

  /** Aborted when the transaction's limit runs out, its caller gives up, or the pool is destroyed. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  query<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#queue('query', sql, values)
  }

  execute<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#queue('execute', sql, values)
  }

  /** Waits for statements that were started and not awaited, and throws when the transaction is over already. @internal */
  async settle(): Promise<void> {
    await this.#tail
    this.#assertAlive()
    // What the function has left behind must not run after the COMMIT.
    this.#isOver = true
  }

  /** Refuses further statements, and waits for the one that runs. @internal */
  async end(): Promise<void> {
    this.#isOver = true
    await this.#tail
  }

  /** What `error`, with which the function ended, allows: `statementFailed` unless all of it can be run again. @internal */
  outcomeOf(error: unknown): Outcome {
    const failure = this.#failure
    if (failure === undefined || this.#ended !== undefined) return 'statementFailed'
    // After a lock wait time-out the transaction is still open: only the caller knows whether the function went on.
    return failure.outcome === 'lockWait' && !hasCause(error, failure.error) ? 'statementFailed' : failure.outcome
  }

  /** One after the other: after a deadlock the server would run the next one outside the transaction. */
  #queue<T>(method: 'query' | 'execute', sql: string | StatementOptions, values: unknown): Promise<QueryResult<T>> {
    const failureBefore = this.#failure
    const turn = this.#tail.then(() => {
      const failure = this.#failure
      // Asked for before the failure, as with Promise.all: the caller has not swallowed anything.
      if (failure !== failureBefore && (failure?.outcome === 'lost' || failure?.outcome === 'rolledBack')) {
        throw failure.error
      }
      return this.#run<T>(method, sql, values)
    })
    this.#tail = turn.catch(() => undefined)
    return turn
  }

  async #run<T>(method: 'query' | 'execute', sql: string | StatementOptions, values: unknown): Promise<QueryResult<T>> {
    this.#assertAlive()
    const { driver, limits } = toStatement(sql, values)
    if (beginsAnother(driver.sql)) {
      this.#ended = new TransactionEndedError('its function asked to begin another one, and was refused')
      throw this.#ended
    }
    try {
      const result = (await this.#lease.run(method, driver, limits)) as unknown as QueryResult<T>
      if (!this.#lease.isInTransaction) {
        this.#ended ??= new TransactionEndedError('a statement committed or rolled it back')
      }
      return result
    } catch (error) {
      const told = withOutcome(error, this.#lease, driver.sql, true)
      const { outcome, node } = classify(told)
      // The caller's own limit is its decision, and a privilege that is missing will be missing again.
      const isFinal =
        told instanceof TimeoutError || told instanceof StatementOutcomeUnknownError || node === 'misconfigured'
      if (outcome !== 'statementFailed' && !isFinal) this.#failure = { error: told, outcome }
      // It may be committed: whatever the function makes of it, it must not be run again.
      if (told instanceof StatementOutcomeUnknownError) this.#ended ??= told
      // DDL and its kin commit before they fail. A procedure may, too, which is said in the documentation.
      else if (outcome !== 'lost' && !cannotCommit(driver.sql) && !isCall(driver.sql)) {
        this.#ended ??= new TransactionEndedError('a statement failed that may have committed it', toError(error))
      }
      throw told
    }
  }

  #assertAlive(): void {
    if (this.#isOver) this.#ended ??= new TransactionEndedError('it was committed or rolled back')
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
  readonly options: Pick<ResolvedMysqlPoolOptions, 'maxRetries' | 'retryIntervalMs' | 'maxRetryIntervalMs'>
}

type Body<T> = (tx: Transaction) => Promise<T>
type Attempt<T> =
  { readonly value: T } | { readonly error: unknown; readonly outcome: Outcome; readonly isBusy: boolean }

/**
 * Runs `body` in a transaction until it is committed, or until an error that running it again cannot mend.
 *
 * A lost connection runs it again at once (there is a new writer), a deadlock after a pause. What is not known to have
 * failed is never repeated, and when the caller's limit cuts a COMMIT short its outcome is unknown. `stop` ends it.
 * @internal
 */
export function runTransaction<T>(
  host: TransactionHost,
  body: Body<T>,
  options: TransactionOptions,
  stop: Stop,
): Promise<T> {
  const { timeoutMs, signal } = options
  const startedAt = now()
  const run = new TransactionRun(host, body, options, stop)
  const late = (): void => stop.stop(new TimeoutError('operation', now() - startedAt, 'transaction'))
  const limit = timeoutMs === undefined ? undefined : new TimeLimit(timeoutMs, late)
  if (signal?.aborted === true) stop.stop(abortReason(signal))
  const forget = onAbort(signal, () => stop.stop(abortReason(signal as AbortSignal)))
  return new Promise<T>((resolve, reject) => {
    const end = (): void => {
      limit?.clear()
      forget()
    }
    const fail = (error: unknown): void => {
      end()
      reject(stop.reason === undefined ? error : run.interrupted(error))
    }
    // Told at once: what is cut on the way may take its time to end.
    stop.onStop(fail)
    run.repeat().then((value) => {
      end()
      resolve(value)
    }, fail)
  })
}

class TransactionRun<T> {
  readonly #host: TransactionHost
  readonly #body: Body<T>
  readonly #options: TransactionOptions
  readonly #stop: Stop
  /** The node that was sent a COMMIT and has not answered. */
  #committingOn: string | undefined

  constructor(host: TransactionHost, body: Body<T>, options: TransactionOptions, stop: Stop) {
    this.#host = host
    this.#body = body
    this.#options = options
    this.#stop = stop
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
      const lease = await this.#host.acquire({ signal: this.#stop.signal })
      const result = await this.#attempt(lease)
      if ('value' in result) return result.value
      if (attempt > maxRetries || !isRerunnable(result.outcome) || this.#stop.reason !== undefined) throw result.error
      if (result.isBusy || result.outcome === 'rolledBack' || result.outcome === 'lockWait') {
        conflicts += 1
        await sleep(backoffDelay(conflicts, backoff), this.#stop.signal)
      }
    }
  }

  /** One run of the function; `statementFailed` stands for everything that must not be run again. */
  async #attempt(lease: Lease): Promise<Attempt<T>> {
    const tx = new Transaction(lease, this.#stop)
    const forget = this.#stop.onStop((reason) => lease.cut(reason))
    let isInBody = false
    try {
      if (this.#stop.reason !== undefined) throw this.#stop.reason
      await this.#begin(lease)
      isInBody = true
      const value = await this.#body(tx)
      await tx.settle()
      isInBody = false
      await this.#commit(lease)
      return { value }
    } catch (error) {
      const outcome = isInBody ? tx.outcomeOf(error) : outcomeOf(error)
      return { error, outcome, isBusy: classify(error).node === 'busy' }
    } finally {
      forget()
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
    if (this.#stop.reason !== undefined) throw this.#stop.reason
    this.#committingOn = lease.node.name
    try {
      await commit(lease)
    } catch (error) {
      // Nothing was written, so that nothing can be lost.
      if (this.#options.readOnly === true && error instanceof CommitOutcomeUnknownError) {
        this.#committingOn = undefined
        return
      }
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
  const { outcome, node } = classify(error)
  return node === 'misconfigured' ? 'statementFailed' : outcome
}

function hasCause(error: unknown, wanted: unknown): boolean {
  for (let link = error; link !== undefined && link !== null; link = (link as { cause?: unknown }).cause) {
    if (link === wanted) return true
  }
  return false
}
