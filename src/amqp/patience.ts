/** For so long after trouble began, leaders may be elected: RabbitMQ's default net_ticktime (60 s) and the elections. */
const TROUBLE_MS = 90_000
/** Most elections are over by then: a node was killed, or net_ticktime is short. */
const ACUTE_MS = 15_000
const ACUTE_PATIENCE_MS = 1000
const TROUBLE_PATIENCE_MS = 2000
const PATIENCE_MS = 5000
const MAX_PATIENCE_MS = 60_000
/** Channels that stay silent make no new trouble for so long after the last one. */
const CALM_MS = 600_000

/**
 * How long a message may wait for its confirmation before its channel is given up, while the connection lives.
 *
 * A channel of RabbitMQ that meets a quorum queue without a leader gets no answer for it any more, not even after the
 * election, while one that is opened later is served. So after a failover, when leaders are being elected, channels are
 * given up soon, one after the other, until one is answered. Later that is rarely the reason, and each channel may make
 * copies: patience grows.
 * @internal
 */
export class Patience {
  #troubleAt = -Infinity
  #vain = 0

  /** The connection was lost, perhaps with leaders of queues. */
  onFailover(at: number): void {
    this.#troubleAt = at
    this.#vain = 0
  }

  /** A channel was given up. */
  onGivenUp(at: number): void {
    if (at - this.#troubleAt > CALM_MS) this.#troubleAt = at
    else if (at - this.#troubleAt > TROUBLE_MS) this.#vain += 1
  }

  /** What was given up before was confirmed at last. */
  onAnswered(): void {
    this.#vain = 0
  }

  /** The patience at a time, in milliseconds. */
  ms(at: number): number {
    const troubledMs = at - this.#troubleAt
    if (troubledMs < ACUTE_MS) return ACUTE_PATIENCE_MS
    if (troubledMs < TROUBLE_MS) return TROUBLE_PATIENCE_MS
    return Math.min(PATIENCE_MS * 2 ** this.#vain, MAX_PATIENCE_MS)
  }
}
