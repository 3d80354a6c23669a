import type { Deadline, Deadlines, Expiring } from '../../core/deadlines.js'
import { Stop } from '../../core/stop.js'
import { TimeLimit } from '../../core/time-limit.js'
import { abortReason, now, onAbort, sleep } from '../../core/timing.js'
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
  readonly deadlines: Deadlines
  readonly bigIntegers: boolean
  /** Sends the request; `attempt` is above 1 for a copy. */
  readonly send: (attempt: number, stop: Stop) => Promise<void>
  /** True if a request that may be lost is sent again. */
  readonly isIdempotent: boolean
  /** True when somebody has served this before: that nobody does now may pass. */
  readonly wasServed: () => boolean
  /** Somebody answers. */
  readonly onServed: () => void
  readonly onEnd: (call: RpcCall) => void
}

const UNROUTABLE_PAUSE_MS = 250
/** One for all: nobody sees it, and an error costs more than a call. */
const ENDED = new Error('the call has ended')

/**
 * One call from its request to its last reply. Its limit bounds everything, connecting included.
 *
 * A request whose fate is unknown may still be answered, so the call goes on waiting for that until its limit.
 * @internal
 */
export class RpcCall implements Expiring {
  readonly id: string
  readonly #options: RpcCallOptions
  readonly #startedAt = now()
  readonly #stop = new Stop()
  readonly #limit: Deadline
  readonly #forgetSignal: () => void
  #resolve!: (value: unknown) => void
  #reject!: (error: Error) => void
  #isOver = false
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
    this.#limit = options.deadlines.add(options.timeoutMs, this)
    const { signal } = options
    this.#forgetSignal = onAbort(signal, () => this.fail(abortReason(signal as AbortSignal)))
  }

  /** Sends the request and waits for the reply. */
  run(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.#restartMonitor()
      this.#sending = this.#send()
    })
  }

  /** The limit ran out. */
  onExpired(): void {
    void this.#expire('no reply')
  }

  /** Takes a reply to this call: the last one, a part, or a sign of life. */
  accept({ payload, unsafeInteger }: Decoded): void {
    this.#maybeExecuted = true
    this.#options.onServed()
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
      this.#resolve(this.#value)
    }
  }

  /** Sends a request again that a broker had: it may have died with the broker's node. */
  repeat(): void {
    if (this.#options.isIdempotent && this.#wasConfirmed && !this.#isOver) this.#sending = this.#send()
  }

  fail(error: Error): void {
    if (this.#end()) this.#reject(error)
  }

  async #send(): Promise<void> {
    this.#attempts += 1
    try {
      await this.#sendUntilRouted(this.#attempts)
      this.#maybeExecuted = true
      this.#wasConfirmed = true
    } catch (error) {
      if (error instanceof PublishOutcomeUnknownError) this.#maybeExecuted = true
      else if (this.#attempts === 1 && !this.#stop.aborted) this.fail(toError(error))
    }
  }

  async #sendUntilRouted(attempt: number): Promise<void> {
    const stop = this.#stop
    for (;;) {
      try {
        await this.#options.send(attempt, stop)
        return
      } catch (error) {
        if (!(error instanceof UnroutableError)) throw error
        if (!this.#options.wasServed()) throw new NoServerError(this.#options.what, error)
      }
      await sleep(UNROUTABLE_PAUSE_MS, stop)
    }
  }

  /** The publisher knows whether the request may have left: it is asked by ending its wait. */
  async #expire(why: string): Promise<void> {
    this.#stop.abort(ENDED)
    await this.#sending
    this.fail(new RpcTimeoutError(now() - this.#startedAt, `${why}, ${this.#options.what}`, this.#maybeExecuted))
  }

  #restartMonitor(): void {
    const { monitorTimeoutMs } = this.#options
    if (monitorTimeoutMs === undefined || this.#isOver) return
    this.#monitor?.clear()
    this.#monitor = new TimeLimit(monitorTimeoutMs, () => void this.#expire('no sign of life'))
  }

  /** Returns false when the call had ended before. */
  #end(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#limit.clear()
    this.#monitor?.clear()
    this.#forgetSignal()
    this.#options.onEnd(this)
    this.#stop.abort(ENDED)
    return true
  }
}
