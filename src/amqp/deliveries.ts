import { backoffDelay } from '../core/backoff.js'
import { diagnose } from '../core/diagnostics.js'
import { toError } from '../core/errors.js'
import type { Channel } from './channel.js'
import type { Counters } from './counters.js'
import type { DriverMessage } from './driver.js'
import { FailureCounts } from './failures.js'
import { mayBeDuplicate, Message } from './message.js'
import type { ResolvedSubscription } from './subscription.js'

/** Handles one message. It is acknowledged when the promise resolves, and goes back to the queue when it rejects. */
export type MessageHandler = (message: Message) => unknown

const MAX_REQUEUE_DELAY_MS = 30_000

interface Delivery {
  readonly raw: DriverMessage
  readonly channel: Channel
  readonly message: Message
  readonly abort: AbortController
}

/**
 * Runs a consumer's handlers, and gives each verdict to the channel that delivered the message.
 *
 * Delivery tags are counted per channel: a tag of an old channel names another message on the new one, so a verdict
 * that comes after its channel ended is dropped, and counted.
 * @internal
 */
export class Deliveries {
  readonly #subscription: ResolvedSubscription
  readonly #handler: MessageHandler
  readonly #counters: Counters
  readonly #failures = new FailureCounts()
  readonly #waiting = new Set<Delivery>()
  readonly #running = new Set<Delivery>()
  readonly #pauses = new Map<Delivery, NodeJS.Timeout>()
  #whenIdle: (() => void)[] = []
  #isDraining = false
  /** Verdicts given since the channel last said anything: the broker's silence is suspicious then. */
  #sinceHeard = 0
  deliveredCount = 0
  ackedCount = 0
  failedCount = 0
  lastError: Error | undefined

  constructor(subscription: ResolvedSubscription, handler: MessageHandler, counters: Counters) {
    this.#subscription = subscription
    this.#handler = handler
    this.#counters = counters
  }

  /** True while more messages should come: some were acknowledged and nothing came since. */
  get isExpecting(): boolean {
    return this.#sinceHeard > 0
  }

  /** Silence is no longer strange. */
  reassure(): void {
    this.#sinceHeard = 0
  }

  get runningCount(): number {
    return this.#running.size
  }

  /** A message came in. */
  accept(raw: DriverMessage, channel: Channel): void {
    const abort = new AbortController()
    const message = new Message(raw, abort.signal)
    this.#sinceHeard = 0
    this.deliveredCount += 1
    if (mayBeDuplicate(message)) this.#counters.duplicates += 1
    this.#waiting.add({ raw, channel, message, abort })
    this.#next()
  }

  /** The channel ended: what it delivered belongs to the broker again. */
  takeAway(channel: Channel, reason: Error): void {
    this.#sinceHeard = 0
    for (const delivery of this.#waiting) if (delivery.channel === channel) this.#waiting.delete(delivery)
    for (const delivery of this.#pauses.keys()) if (delivery.channel === channel) this.#endPause(delivery)
    for (const delivery of this.#running) if (delivery.channel === channel) delivery.abort.abort(reason)
  }

  /** Starts no further handler. */
  hold(): void {
    this.#isDraining = true
  }

  /** Starts no further handler, gives back what waits, and resolves when no handler runs. */
  async drain(): Promise<void> {
    this.hold()
    for (const delivery of this.#waiting) this.#giveBack(delivery)
    this.#waiting.clear()
    for (const delivery of this.#pauses.keys()) {
      this.#endPause(delivery)
      this.#giveBack(delivery)
    }
    if (this.#running.size === 0) return
    await new Promise<void>((resolve) => this.#whenIdle.push(resolve))
  }

  #next(): void {
    for (const delivery of this.#waiting) {
      if (this.#isDraining || this.#running.size >= this.#subscription.concurrency) return
      this.#waiting.delete(delivery)
      this.#running.add(delivery)
      void this.#run(delivery)
    }
  }

  async #run(delivery: Delivery): Promise<void> {
    try {
      await this.#handler(delivery.message)
      this.#failures.forget(delivery.message)
      this.#acknowledge(delivery)
    } catch (error) {
      this.#onFailed(delivery, toError(error))
    }
    this.#running.delete(delivery)
    if (this.#running.size === 0) {
      for (const resolve of this.#whenIdle) resolve()
      this.#whenIdle = []
    }
    this.#next()
  }

  #acknowledge({ channel, raw }: Delivery): void {
    if (channel.isOpen && channel.attempt(() => channel.raw.ack(raw))) {
      this.ackedCount += 1
      this.#sinceHeard += 1
    } else {
      this.#counters.staleAcks += 1
    }
  }

  #onFailed(delivery: Delivery, error: Error): void {
    const { queue } = this.#subscription.declaration
    diagnose('amqp', 'handlerError', { queue, messageId: delivery.message.properties['messageId'], error })
    if (!delivery.channel.isOpen) {
      this.#counters.staleAcks += 1
      return
    }
    this.failedCount += 1
    this.lastError = error
    const failures = this.#failures.add(delivery.message)
    const { maxRequeues, requeueDelayMs } = this.#subscription
    if (failures > maxRequeues) {
      this.#failures.forget(delivery.message)
      delivery.channel.attempt(() => delivery.channel.raw.nack(delivery.raw, false, false))
    } else if (this.#isDraining || requeueDelayMs === 0) {
      this.#giveBack(delivery)
    } else {
      const pauseMs = backoffDelay(failures, { initialMs: requeueDelayMs, factor: 2, maxMs: MAX_REQUEUE_DELAY_MS })
      const pause = setTimeout(() => {
        this.#endPause(delivery)
        this.#giveBack(delivery)
      }, pauseMs)
      this.#pauses.set(delivery, pause)
    }
  }

  #endPause(delivery: Delivery): void {
    clearTimeout(this.#pauses.get(delivery))
    this.#pauses.delete(delivery)
  }

  #giveBack({ channel, raw }: Delivery): void {
    if (channel.isOpen) channel.attempt(() => channel.raw.nack(raw, false, true))
  }
}
