import { backoffDelay } from '../core/backoff.js'
import { TimeoutError, toError } from '../core/errors.js'
import { TimeLimit, type WaitOptions } from '../core/time-limit.js'
import { abortReason, now, onAbort, sleep } from '../core/timing.js'
import { classify, isRerunnable, type Outcome } from './classify.js'
import { commit } from './outcome.js'
import { CommitOutcomeUnknownError, StatementOutcomeUnknownError, TransactionEndedError } from './errors.js'
import type { Fence, UnknownAttempt } from './fence.js'
import type { Lease } from './lease.js'
import type { ResolvedMysqlPoolOptions } from './options.js'
import type { Stop } from './stop.js'
import { BEGIN, Transaction } from './transaction.js'
import type { TransactionOptions } from './transaction-options.js'

/** What {@link runTransaction} needs of the pool. @internal */
export interface TransactionHost {
  readonly acquire: (limits: WaitOptions) => Promise<Lease>
  /** Runs the function. */
  readonly run: <T>(tx: Transaction, body: Body<T>) => Promise<T>
  readonly options: Pick<
    ResolvedMysqlPoolOptions,
    'maxRetries' | 'retryIntervalMs' | 'maxRetryIntervalMs' | 'exactlyOnce'
  >
  readonly fence: Fence
}

type Body<T> = (tx: Transaction) => Promise<T>
type Attempt<T> =
  | { readonly value: T; readonly unknown?: UnknownAttempt }
  | { readonly error: unknown; readonly outcome: Outcome; readonly isBusy: boolean }

/**
 * Runs `body` in a transaction until it is committed, or until an error that running it again cannot mend.
 *
 * A lost connection runs it again at once (there is a new writer), a deadlock after a pause. What is not known to have
 * failed is never repeated: with `exactlyOnce` the fence's verdict comes before anything else, without it, and when the
 * caller's limit cuts a COMMIT or a verdict short, the outcome is unknown. `stop` ends it. @internal
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
  const abort = (): void => stop.stop(abortReason(signal as AbortSignal))
  if (signal?.aborted === true) abort()
  const forget = onAbort(signal, abort)
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

  /** A transaction that writes nothing can be run again whatever became of its COMMIT. */
  get #isFenced(): boolean {
    const { exactlyOnce = this.#host.options.exactlyOnce, readOnly = false } = this.#options
    return exactlyOnce && !readOnly
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
    if (this.#isFenced) await this.#host.fence.prepare(this.#stop)
    for (let attempt = 1, conflicts = 0; ; attempt += 1) {
      const lease = await this.#host.acquire(this.#stop)
      const result = await this.#judge(await this.#attempt(lease))
      if ('value' in result) return result.value
      if (attempt > maxRetries || !isRerunnable(result.outcome) || this.#stop.reason !== undefined) throw result.error
      if (result.isBusy || result.outcome === 'rolledBack' || result.outcome === 'lockWait') {
        conflicts += 1
        await sleep(backoffDelay(conflicts, backoff), this.#stop.signal)
      }
    }
  }

  /** Only when the attempt's connection is given back: the verdict needs one, and there may be no other. */
  async #judge(result: Attempt<T>): Promise<Attempt<T>> {
    if (!('value' in result) || result.unknown === undefined) return result
    const verdict = await this.#host.fence.verdict(result.unknown, this.#stop.signal)
    this.#committingOn = undefined
    if (verdict === 'committed') return { value: result.value }
    return { error: result.unknown.error, outcome: 'lost', isBusy: false }
  }

  /** One run of the function; `statementFailed` stands for everything that must not be run again. */
  async #attempt(lease: Lease): Promise<Attempt<T>> {
    // Otherwise with its first statement: a function that asks for nothing costs nothing.
    const isBegun = this.#isFenced || this.#options.isolationLevel !== undefined || this.#options.readOnly === true
    const tx = new Transaction(lease, this.#stop, isBegun)
    const forget = this.#stop.onStop((reason) => lease.cut(reason))
    let isInBody = false
    try {
      if (this.#stop.reason !== undefined) throw this.#stop.reason
      const id = isBegun ? await this.#begin(lease) : undefined
      isInBody = true
      const value = await this.#host.run(tx, this.#body)
      await tx.settle()
      isInBody = false
      const unknown = tx.isBegun ? await this.#commit(lease, id) : undefined
      return unknown === undefined ? { value } : { value, unknown }
    } catch (error) {
      const outcome = isInBody ? tx.outcomeOf(error) : outcomeOf(error)
      return { error, outcome, isBusy: classify(error).node === 'busy' }
    } finally {
      forget()
      await tx.end()
      lease.release()
    }
  }

  /** Resolves to the id by which the fence knows the attempt, if it is asked to. */
  async #begin(lease: Lease): Promise<Buffer | undefined> {
    const { isolationLevel, readOnly } = this.#options
    if (isolationLevel !== undefined) {
      await lease.run('query', { sql: `SET TRANSACTION ISOLATION LEVEL ${isolationLevel}` })
    }
    if (this.#isFenced) return this.#host.fence.begin(lease)
    await lease.run('query', { sql: readOnly === true ? `${BEGIN} READ ONLY` : BEGIN })
    return undefined
  }

  /** Commits. Resolves to what the fence is to be asked about when the answer was lost. */
  async #commit(lease: Lease, id: Buffer | undefined): Promise<UnknownAttempt | undefined> {
    if (this.#stop.reason !== undefined) throw this.#stop.reason
    const sentAt = now()
    const server = lease.node.report
    this.#committingOn = lease.node.name
    try {
      await commit(lease)
    } catch (error) {
      // Nothing was written, so that nothing can be lost.
      if (this.#options.readOnly === true && error instanceof CommitOutcomeUnknownError) {
        this.#committingOn = undefined
        return undefined
      }
      if (id !== undefined && error instanceof CommitOutcomeUnknownError) return { id, sentAt, server, lease, error }
      // Known again, unless it is what makes it unknown.
      if (!(error instanceof CommitOutcomeUnknownError)) this.#committingOn = undefined
      throw error
    }
    this.#committingOn = undefined
    return undefined
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
