import type { Channel } from './channel.js'

/** How often an idle consumer asks whether its queue is really empty. */
const CHECK_MS = 5000
/** Longest pause between checks of a consumer that stays idle beside messages for reasons that are not ours. */
const MAX_CHECK_MS = 300_000

/** What the watch looks at. @internal */
export interface WatchedConsumer {
  readonly queue: string
  /** Messages delivered so far. */
  readonly deliveredCount: () => number
  /** Messages delivered and without a verdict. */
  readonly heldCount: () => number
  /** The queue has messages and delivers none: subscribe anew. */
  readonly onStalled: (channel: Channel, reason: Error) => void
}

/**
 * Finds consumers that the broker has forgotten.
 *
 * A quorum queue that elects a leader while a consumer subscribes or acknowledges may lose the acknowledgements, or the
 * consumer: it then waits for ever, on a healthy connection, beside a queue that fills. Two checks in a row with
 * messages ready and nothing delivered mean that. When a fresh subscription gets nothing either (another consumer is
 * the single active one), checks become rarer.
 * @internal
 */
export class StallWatch {
  readonly #consumer: WatchedConsumer
  #timer: NodeJS.Timeout | undefined
  #delivered = -1
  #suspicionCount = 0
  #checkMs = CHECK_MS

  constructor(consumer: WatchedConsumer) {
    this.#consumer = consumer
  }

  start(channel: Channel): void {
    this.stop()
    this.#suspicionCount = 0
    this.#schedule(channel)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #schedule(channel: Channel): void {
    this.#timer = setTimeout(() => void this.#check(channel), this.#checkMs).unref()
  }

  async #check(channel: Channel): Promise<void> {
    const isOpen = (): boolean => channel.isOpen
    if (!isOpen()) return
    if (!this.#isIdle()) {
      this.#suspicionCount = 0
      this.#checkMs = CHECK_MS
    } else {
      // Where the queue is gone, the broker closes the channel for the question, and the consumer subscribes anew.
      const answer = await channel.raw.checkQueue(this.#consumer.queue).catch(() => ({ messageCount: 0 }))
      this.#suspicionCount = answer.messageCount > 0 && this.#isIdle() ? this.#suspicionCount + 1 : 0
    }
    if (!isOpen()) return
    if (this.#suspicionCount < 2) {
      this.#schedule(channel)
      return
    }
    this.#checkMs = Math.min(2 * this.#checkMs, MAX_CHECK_MS)
    this.#consumer.onStalled(channel, new Error(`queue '${this.#consumer.queue}' has messages and delivers none`))
  }

  /** True when nothing came since the last look and nothing is in work. */
  #isIdle(): boolean {
    const delivered = this.#consumer.deliveredCount()
    const isIdle = delivered === this.#delivered && this.#consumer.heldCount() === 0
    this.#delivered = delivered
    return isIdle
  }
}
