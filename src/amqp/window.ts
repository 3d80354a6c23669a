/** In flight at the start, and the least after confirmations became slow. */
const INITIAL = 256
const MAX = 4096
/** What the window grows by each round trip, once it was found too large before. */
const STEP = 64
/** Confirmations so fast leave room for more. */
const FAST_MS = 100
/** Confirmations so slow say that messages only queue up. */
const SLOW_MS = 500

/**
 * How many messages may be in flight on a channel: as many as keep the broker busy, and no more.
 *
 * Everything in flight is sent twice when a connection is lost, so the window is small until it proves to be the limit:
 * a quorum queue writes in batches and gains by thousands in flight (RabbitMQ's own figures: seven times as fast with
 * 3,000 as with 192). It doubles each round trip, or grows by a step after it was found too large, while it is used to
 * the full and confirmations are fast, and is halved when they become slow.
 * @internal
 */
export class AdaptiveWindow {
  #size = INITIAL
  #ceiling = MAX

  get size(): number {
    return this.#size
  }

  /** Starts small again: what is sent next may have to be sent once more. */
  restart(size: number): void {
    this.#size = Math.min(size, INITIAL)
    this.#ceiling = MAX
  }

  /** Learns from one round trip: what it took, and whether more would have been sent if the window had allowed it. */
  onRoundTrip(latencyMs: number, wasFull: boolean): void {
    if (latencyMs >= SLOW_MS) {
      this.#size = Math.min(this.#size, Math.max(INITIAL, Math.floor(this.#size / 2)))
      this.#ceiling = this.#size
    } else if (wasFull && latencyMs <= FAST_MS) {
      const isProbing = 2 * this.#size <= this.#ceiling
      this.#size = Math.min(MAX, isProbing ? 2 * this.#size : this.#size + STEP)
    }
  }
}
