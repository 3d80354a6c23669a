import { backoffDelay } from '../core/backoff.js'
import { TimeoutError, toError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { now, sleep } from '../core/timing.js'
import { classify, isRerunnable, type Outcome } from './classify.js'
import { commit, type Queryable } from './connection.js'
import { StatementOutcomeUnknownError, TransactionEndedError } from './errors.js'
import type { Lease } from './lease.js'
import type { ResolvedMysqlPoolOptions } from './options.js'
import type { QueryResult, Row } from './result.js'
import { toStatement, type StatementOptions } from './statement.js'

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
  #ended: TransactionEndedError | undefined
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

  /** Aborted when the transaction's limit runs out or its caller gives up. */
  get signal(): AbortSignal {
    return this.#signal
  }

  query<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#run('query', sql, values)
  }

  execute<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#run('execute', sql, values)
  }

  /** Throws when the transaction is over already. @internal */
  assertAlive(): void {
    if (this.#ended === undefined && !this.#lease.isInTransaction) {
      const cause = this.#failure === undefined ? undefined : toError(this.#failure.error)
      const reason = cause === undefined ? 'a statement committed or rolled it back' : cause.message
      this.#ended = new TransactionEndedError(reason, cause)
    }
    if (this.#ended !== undefined) throw this.#ended
  }

  /** What `error`, with which the function ended, allows: `statementFailed` unless all of it can be run again. @internal */
  outcomeOf(error: unknown): Outcome {
    const failure = this.#failure
    if (failure === undefined || this.#ended !== undefined) return 'statementFailed'
    // After a lock wait time-out the transaction is still open: only the caller knows whether the function went on.
    return failure.outcome === 'lockWait' && !hasCause(error, failure.error) ? 'statementFailed' : failure.outcome
  }

  async #run<T>(method: 'query' | 'execute', sql: string | StatementOptions, values: unknown): Promise<QueryResult<T>> {
    this.assertAlive()
    const { driver, limits } = toStatement(sql, values)
    try {
      const result = (await this.#lease.run(method, driver, limits)) as unknown as QueryResult<T>
      if (!this.#lease.isInTransaction) {
        this.#ended ??= new TransactionEndedError('a statement committed or rolled it back')
      }
      return result
    } catch (error) {
      const { outcome } = classify(error)
      // The caller's own limit is its decision: running again would disregard it.
      if (outcome !== 'statementFailed' && !(error instanceof TimeoutError)) this.#failure = { error, outcome }
      throw error
    }
  }
}

/** What {@link runTransaction} needs of the pool. @internal */
export interface TransactionHost {
  readonly acquire: (limits: WaitOptions) => Promise<Lease>
  readonly options: Pick<ResolvedMysqlPoolOptions, 'maxRetries' | 'retryIntervalMs' | 'maxRetryIntervalMs'>
}

type Body<T> = (tx: Transaction) => Promise<T>
type Attempt<T> = { readonly value: T } | { readonly error: unknown; readonly outcome: Outcome }

/**
 * Runs `body` in a transaction until it is committed, or until an error that running it again cannot mend.
 *
 * A lost connection runs it again at once (there is a new writer), a deadlock after a pause. What is not known to have
 * failed is never repeated. @internal
 */
export async function runTransaction<T>(host: TransactionHost, body: Body<T>, options: TransactionOptions): Promise<T> {
  const { timeoutMs } = options
  const startedAt = now()
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
  const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, 'transaction')
  const work = repeat(host, body, options, signal, () =>
    timeoutMs === undefined ? {} : { timeoutMs: Math.max(1, timeoutMs - (now() - startedAt)) },
  )
  return waitWithin(work, { timeoutMs, signal: options.signal }, late, (reason) => stop.abort(reason))
}

async function repeat<T>(
  host: TransactionHost,
  body: Body<T>,
  options: TransactionOptions,
  signal: AbortSignal,
  limits: () => WaitOptions,
): Promise<T> {
  const { maxRetries = host.options.maxRetries } = options
  const { retryIntervalMs, maxRetryIntervalMs } = host.options
  for (let attempt = 1, conflicts = 0; ; attempt += 1) {
    const lease = await host.acquire({ ...limits(), signal })
    const result = await attemptOnce(lease, body, options, signal)
    if ('value' in result) return result.value
    if (attempt > maxRetries || !isRerunnable(result.outcome) || signal.aborted) throw result.error
    if (result.outcome === 'rolledBack' || result.outcome === 'lockWait') {
      conflicts += 1
      await sleep(backoffDelay(conflicts, { initialMs: retryIntervalMs, factor: 2, maxMs: maxRetryIntervalMs }), signal)
    }
  }
}

/** One run of `body`; `statementFailed` stands for everything that must not be run again. */
async function attemptOnce<T>(
  lease: Lease,
  body: Body<T>,
  options: TransactionOptions,
  signal: AbortSignal,
): Promise<Attempt<T>> {
  const tx = new Transaction(lease, signal)
  const onAbort = (): void => lease.cut(toError(signal.reason))
  signal.addEventListener('abort', onAbort, { once: true })
  let phase: 'begin' | 'body' | 'commit' = 'begin'
  try {
    if (options.isolationLevel !== undefined) {
      await lease.run('query', { sql: `SET TRANSACTION ISOLATION LEVEL ${options.isolationLevel}` })
    }
    await lease.run('query', { sql: options.readOnly === true ? 'START TRANSACTION READ ONLY' : 'START TRANSACTION' })
    phase = 'body'
    const value = await body(tx)
    phase = 'commit'
    tx.assertAlive()
    await commit(lease)
    return { value }
  } catch (error) {
    return { error, outcome: phase === 'body' ? tx.outcomeOf(error) : outcomeOf(error) }
  } finally {
    signal.removeEventListener('abort', onAbort)
    lease.release()
  }
}

/** Of BEGIN and COMMIT: what is unknown, and what ended before its COMMIT, is never repeated. */
function outcomeOf(error: unknown): Outcome {
  if (error instanceof TransactionEndedError || error instanceof StatementOutcomeUnknownError) return 'statementFailed'
  return classify(error).outcome
}

function hasCause(error: unknown, wanted: unknown): boolean {
  for (let link = error; link !== undefined && link !== null; link = (link as { cause?: unknown }).cause) {
    if (link === wanted) return true
  }
  return false
}
