import type { Deadline, Deadlines } from '../core/deadlines.js'
import { TimeoutError } from '../core/errors.js'
import type { Place } from '../core/linked-list.js'
import type { WaitBounds } from '../core/time-limit.js'
import { abortReason, now, onAbort } from '../core/timing.js'
import type { DriverPublishOptions } from './driver.js'
import {
  type BackpressureError,
  PublishOutcomeUnknownError,
  PublishRefusedError,
  type UnroutableError,
} from './errors.js'

/** Tells consumers that a message is a copy: 2 on the first repetition. @internal */
export const ATTEMPT_HEADER = 'x-openstack-ha-attempt'

/** What is to be published. @internal */
export interface Letter {
  readonly exchange: string
  readonly routingKey: string
  readonly content: Buffer
  readonly properties: DriverPublishOptions
  /** False for what must not be sent again while it is unknown whether it arrived. @default true */
  readonly isRepeatable?: boolean
}

/** How long a caller waits. @internal */
export interface Wait extends WaitBounds {
  readonly timeoutMs: number
}

/** What all entries of a publisher share. @internal */
export interface EntryOwner {
  readonly deadlines: Deadlines
  /** Why nothing can be sent at present. */
  readonly whyWaiting: () => Error
  readonly onSettled: (entry: Entry) => void
}

/**
 * One call of `publish`, from the outbox to its verdict.
 *
 * It is settled once, for the caller. It is finished when also no channel waits for its confirmation any more: until
 * then it counts in the outbox, so that time-outs cannot make the outbox grow without limit.
 * @internal
 */
export class Entry {
  readonly letter: Letter
  readonly promise: Promise<void>
  /** Set when the broker sent the message back; the confirmation follows and settles it. */
  returned: UnroutableError | undefined
  /** True while a live channel has it and owes the confirmation. */
  isInFlight = false
  /** When it was sent last. */
  sentAt = 0
  /** Why it has to wait for room in the outbox, while it does. */
  refusal: BackpressureError | undefined
  /** The outbox's. */
  held: Place<Entry> | undefined
  /** The outbox's. */
  queued: Place<Entry> | undefined
  #attempts = 0
  #refusals = 0
  /** True when a channel ended with its confirmation pending. */
  #isUncertain = false
  /** True when that was not for what the broker refused there. */
  #mayHaveArrived = false
  #isSettled = false
  #resolve!: () => void
  #reject!: (error: Error) => void
  readonly #startedAt = now()
  readonly #owner: EntryOwner
  readonly #deadline: Deadline
  #forgetSignal: (() => void) | undefined

  constructor(letter: Letter, { timeoutMs, signal }: Wait, owner: EntryOwner) {
    this.letter = letter
    this.#owner = owner
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#deadline = owner.deadlines.add(timeoutMs, this)
    if (signal !== undefined) this.#forgetSignal = onAbort(signal, () => this.#giveUp(abortReason(signal)))
  }

  get id(): string {
    return this.letter.properties.messageId
  }

  get bytes(): number {
    return this.letter.content.length
  }

  get isSettled(): boolean {
    return this.#isSettled
  }

  /** True if the broker may have it: a connection was lost, or is still used, with its confirmation pending. */
  get mayBeStored(): boolean {
    return this.isInFlight || this.#isUncertain
  }

  /** True if it was sent before and is to be sent again. */
  get isRepetition(): boolean {
    return this.#attempts > 0
  }

  /** True if it was sent more than once. */
  get wasRepeated(): boolean {
    return this.#attempts > 1
  }

  /** The properties of the next attempt. Call `sent()` when they are on their way. */
  nextProperties(): DriverPublishOptions {
    const { properties } = this.letter
    if (this.#attempts === 0) return properties
    return { ...properties, headers: { ...properties.headers, [ATTEMPT_HEADER]: this.#attempts + 1 } }
  }

  sent(): void {
    this.#attempts += 1
    this.isInFlight = true
    this.sentAt = now()
    this.returned = undefined
  }

  /** The channel ended before the confirmation; `isRefusal` when the broker refused something on it. */
  lost(isRefusal: boolean): void {
    this.isInFlight = false
    this.#isUncertain = true
    this.#mayHaveArrived ||= !isRefusal
    if (this.letter.isRepeatable === false) {
      this.settle(new PublishOutcomeUnknownError(this.id, 'its channel ended before the confirmation'))
    }
  }

  /** The broker refused this attempt, or returned it. Returns how often it did. */
  refused(): number {
    this.isInFlight = false
    this.#refusals += 1
    return this.#refusals
  }

  confirmed(): void {
    if (this.returned !== undefined) this.denied(this.returned)
    else {
      this.isInFlight = false
      this.settle()
    }
  }

  /** The broker would not have it this time. What became of an attempt whose connection was lost is not known by that. */
  denied(error: Error): void {
    this.isInFlight = false
    const isUnknown = this.#mayHaveArrived
    this.settle(isUnknown ? new PublishOutcomeUnknownError(this.id, `sent again, ${error.message}`, error) : error)
  }

  /** Ends the caller's wait: well without an error. Later calls do nothing. */
  settle(error?: Error): void {
    if (this.#isSettled) return
    this.#isSettled = true
    this.#deadline.clear()
    this.#forgetSignal?.()
    if (error === undefined) this.#resolve()
    else this.#reject(error)
    this.#owner.onSettled(this)
  }

  /** It cannot be sent: reported as failed, unless an earlier attempt may have been stored. */
  fail(error: Error): void {
    this.isInFlight = false
    this.settle(this.mayBeStored ? new PublishOutcomeUnknownError(this.id, error.message, error) : error)
  }

  /** The caller's limit ran out. */
  onExpired(): void {
    const cause = this.#owner.whyWaiting()
    this.#giveUp(new TimeoutError('operation', now() - this.#startedAt, `publish, ${cause.message}`, cause, true))
  }

  /** The wait ends without a verdict of the broker: what is unknown is reported as unknown. */
  #giveUp(reason: Error): void {
    if (this.mayBeStored) {
      const what =
        reason instanceof TimeoutError
          ? `not confirmed within ${Math.round(now() - this.#startedAt)} ms`
          : reason.message
      this.settle(new PublishOutcomeUnknownError(this.id, what, reason))
    } else if (this.returned !== undefined) {
      this.settle(this.returned)
    } else if (this.#refusals > 0) {
      this.settle(new PublishRefusedError(this.id, this.#refusals))
    } else if (this.refusal !== undefined && reason instanceof TimeoutError) {
      this.settle(this.refusal)
    } else {
      this.settle(reason)
    }
  }
}
