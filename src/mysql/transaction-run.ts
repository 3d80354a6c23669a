import { backoffDelay } from '../core/backoff.js'
import { TimeoutError, toError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { abortReason, now, sleep } from '../core/timing.js'
import { classify, isRerunnable, type Outcome } from './classify.js'
import { commit } from './connection.js'
import { CommitOutcomeUnknownError, StatementOutcomeUnknownError, TransactionEndedError } from './errors.js'
import type { Fence, UnknownAttempt } from './fence.js'
import type { Lease } from './lease.js'
import type { ResolvedMysqlPoolOptions } from './options.js'
import { Transaction, type TransactionOptions } from './transaction.js'

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
 * caller's limit cuts a COMMIT or a verdict short, the outcome is unknown. Aborting `stop` ends it. @internal
 */
export async function runTransaction<T>(
  host: TransactionHost,
  body: Body<T>,
  options: TransactionOptions,
  stop: AbortController,
): Promise<T> {
  const { timeoutMs, signal } = options
  const run = new TransactionRun(host, body, options, stop.signal)
  const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, 'transaction')
  const onAbort = (): void => stop.abort(abortReason(signal as AbortSignal))
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted === true) onAbort()
  try {
    return await waitWithin(run.repeat(), { timeoutMs, signal: stop.signal }, late, (reason) => stop.abort(reason))
  } catch (error) {
    throw stop.signal.aborted ? run.interrupted(error) : error
  } finally {
    signal?.removeEventListener('abort', onAbort)
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
    if (this.#isFenced) await this.#host.fence.prepare({ signal: this.#signal })
    for (let attempt = 1, conflicts = 0; ; attempt += 1) {
      const lease = await this.#host.acquire({ signal: this.#signal })
      const result = await this.#judge(await this.#attempt(lease))
      if ('value' in result) return result.value
      if (attempt > maxRetries || !isRerunnable(result.outcome) || this.#signal.aborted) throw result.error
      if (result.isBusy || result.outcome === 'rolledBack' || result.outcome === 'lockWait') {
        conflicts += 1
        await sleep(backoffDelay(conflicts, backoff), this.#signal)
      }
    }
  }

  /** Only when the attempt's connection is given back: the verdict needs one, and there may be no other. */
  async #judge(result: Attempt<T>): Promise<Attempt<T>> {
    if (!('value' in result) || result.unknown === undefined) return result
    const verdict = await this.#host.fence.verdict(result.unknown, this.#signal)
    this.#committingOn = undefined
    if (verdict === 'committed') return { value: result.value }
    return { error: result.unknown.error, outcome: 'lost', isBusy: false }
  }

  /** One run of the function; `statementFailed` stands for everything that must not be run again. */
  async #attempt(lease: Lease): Promise<Attempt<T>> {
    const tx = new Transaction(lease, this.#signal)
    const onAbort = (): void => lease.cut(abortReason(this.#signal))
    this.#signal.addEventListener('abort', onAbort, { once: true })
    let isInBody = false
    try {
      if (this.#signal.aborted) throw abortReason(this.#signal)
      const id = await this.#begin(lease)
      isInBody = true
      const value = await this.#host.run(tx, this.#body)
      await tx.settle()
      isInBody = false
      const unknown = await this.#commit(lease, id)
      return unknown === undefined ? { value } : { value, unknown }
    } catch (error) {
      const outcome = isInBody ? tx.outcomeOf(error) : outcomeOf(error)
      return { error, outcome, isBusy: classify(error).node === 'busy' }
    } finally {
      this.#signal.removeEventListener('abort', onAbort)
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
    await lease.run('query', { sql: readOnly === true ? 'START TRANSACTION READ ONLY' : 'START TRANSACTION' })
    return undefined
  }

  /** Commits. Resolves to what the fence is to be asked about when the answer was lost. */
  async #commit(lease: Lease, id: Buffer | undefined): Promise<UnknownAttempt | undefined> {
    if (this.#signal.aborted) throw abortReason(this.#signal)
    const sentAt = now()
    this.#committingOn = lease.node.name
    try {
      await commit(lease)
    } catch (error) {
      if (id !== undefined && error instanceof CommitOutcomeUnknownError) return { id, sentAt, lease, error }
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
