import { TimeLimit } from '../../core/time-limit.js'
import { abortReason, Deferred, now, onAbort, sleep } from '../../core/timing.js'
import { toError } from '../../core/errors.js'
import { PublishOutcomeUnknownError, UnroutableError } from '../errors.js'
import type { Decoded } from './envelope.js'
import { NoServerError, RpcTimeoutError, UnsafeIntegerError } from './errors.js'
import { readFailure } from './failure.js'

/** What a call gets from its client. @internal */
export interface RpcCallOptions {
  /** `_msg_id` of the request. */
  readonly id: string
  /** What is called, for messages: method and topic. */
  readonly what: string
  readonly timeoutMs: number
  readonly monitorTimeoutMs: number | undefined
  readonly signal: AbortSignal | undefined
  readonly bigIntegers: boolean
  /** Sends the request; `attempt` is above 1 for a copy. */
  readonly send: (attempt: number, signal: AbortSignal) => Promise<void>
  /** True if a request that may be lost is sent again. */
  readonly isIdempotent: boolean
  /** True when somebody has served this before: that nobody does now may pass. */
  readonly wasServed: () => boolean
  readonly onEnd: (call: RpcCall) => void
}

const UNROUTABLE_PAUSE_MS = 250

/**
 * One call from its request to its last reply. Its limit bounds everything, connecting included.
 *
 * A request whose fate is unknown may still be answered, so the call goes on waiting for that until its limit.
 * @internal
 */
export class RpcCall {
  readonly id: string
  readonly #options: RpcCallOptions
  readonly #startedAt = now()
  readonly #result = new Deferred<unknown>()
  readonly #abort = new AbortController()
  readonly #limit: TimeLimit
  readonly #forgetSignal: () => void
  #monitor: TimeLimit | undefined
  #sending: Promise<void> = Promise.resolve()
  #attempts = 0
  #maybeExecuted = false
  #wasConfirmed = false
  #value: unknown = null
  #failure: unknown = null

  constructor(options: RpcCallOptions) {
    this.id = options.id
    this.#options = options
    this.#limit = new TimeLimit(options.timeoutMs, () => void this.#expire('no reply'))
    const { signal } = options
    this.#forgetSignal = onAbort(signal, () => this.fail(abortReason(signal as AbortSignal)))
  }

  /** Sends the request and waits for the reply. */
  async run(): Promise<unknown> {
    this.#restartMonitor()
    this.#sending = this.#send()
    return this.#result.promise
  }

  /** Takes a reply to this call: the last one, a part, or a sign of life. */
  accept({ payload, unsafeInteger }: Decoded): void {
    this.#maybeExecuted = true
    if (unsafeInteger !== undefined && !this.#options.bigIntegers) {
      this.fail(new UnsafeIntegerError(unsafeInteger))
      return
    }
    const { result = null, failure = null, ending } = payload
    if (result !== null) this.#value = result
    if (failure !== null) this.#failure = failure
    if (ending !== true) {
      this.#restartMonitor()
    } else if (this.#failure !== null) {
      this.fail(readFailure(this.#failure))
    } else if (this.#end()) {
      this.#result.resolve(this.#value)
    }
  }

  /** Sends a request again that a broker had: it may have died with the broker's node. */
  repeat(): void {
    if (this.#options.isIdempotent && this.#wasConfirmed && !this.#result.settled) this.#sending = this.#send()
  }

  fail(error: Error): void {
    if (this.#end()) this.#result.reject(error)
  }

  async #send(): Promise<void> {
    this.#attempts += 1
    try {
      await this.#sendUntilRouted(this.#attempts)
      this.#maybeExecuted = true
      this.#wasConfirmed = true
    } catch (error) {
      if (error instanceof PublishOutcomeUnknownError) this.#maybeExecuted = true
      else if (this.#attempts === 1 && !this.#abort.signal.aborted) this.fail(toError(error))
    }
  }

  async #sendUntilRouted(attempt: number): Promise<void> {
    const { signal } = this.#abort
    for (;;) {
      try {
        await this.#options.send(attempt, signal)
        return
      } catch (error) {
        if (!(error instanceof UnroutableError)) throw error
        if (!this.#options.wasServed()) throw new NoServerError(this.#options.what, error)
      }
      await sleep(UNROUTABLE_PAUSE_MS, signal)
    }
  }

  /** The publisher knows whether the request may have left: it is asked by ending its wait. */
  async #expire(why: string): Promise<void> {
    this.#abort.abort()
    await this.#sending
    this.fail(new RpcTimeoutError(now() - this.#startedAt, `${why}, ${this.#options.what}`, this.#maybeExecuted))
  }

  #restartMonitor(): void {
    const { monitorTimeoutMs } = this.#options
    if (monitorTimeoutMs === undefined || this.#result.settled) return
    this.#monitor?.clear()
    this.#monitor = new TimeLimit(monitorTimeoutMs, () => void this.#expire('no sign of life'))
  }

  /** Returns false when the call had ended before. */
  #end(): boolean {
    if (this.#result.settled) return false
    this.#limit.clear()
    this.#monitor?.clear()
    this.#forgetSignal()
    this.#options.onEnd(this)
    this.#abort.abort()
    return true
  }
}
