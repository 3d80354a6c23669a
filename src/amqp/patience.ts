/** For so long after a failover, leaders may be elected: RabbitMQ's default net_ticktime (60 s), and what follows it. */
const TROUBLE_MS = 90_000
const TROUBLE_PATIENCE_MS = 5000
/** After a refusal within that time, the next channels are tried in quick succession. */
const HOT_MS = 5000
const HOT_PATIENCE_MS = 250
const PATIENCE_MS = 10_000
const MAX_PATIENCE_MS = 60_000

/**
 * How long a message may wait for its confirmation before its channel is given up, while the connection lives.
 *
 * RabbitMQ answers nothing on a channel that first met a quorum queue while its leader is frozen, not even after the
 * election, until the cluster takes the frozen node for dead (net_ticktime): then it refuses one or all of the messages.
 * Channels opened within about a second of that may still be stuck, later ones are served. So a refusal after a failover
 * is the sign to try fresh channels in quick succession. Otherwise patience is long, and grows while it does not help:
 * each further channel may make copies.
 * @internal
 */
export class Patience {
  #failoverAt = -Infinity
  #hotUntil = -Infinity
  #vain = 0

  /** The connection was lost, perhaps with leaders of queues. */
  onFailover(at: number): void {
    this.#failoverAt = at
    this.#hotUntil = -Infinity
    this.#vain = 0
  }

  /** The broker refused a message. A queue that goes on refusing does not keep it hot. */
  onRefused(at: number): void {
    if (at - this.#failoverAt < TROUBLE_MS && at > this.#hotUntil + HOT_MS) this.#hotUntil = at + HOT_MS
  }

  /** A channel was given up. */
  onGivenUp(at: number): void {
    if (at - this.#failoverAt > TROUBLE_MS) this.#vain += 1
  }

  /** What was given up or refused before was confirmed at last. */
  onAnswered(at: number): void {
    this.#vain = 0
    this.#hotUntil = Math.min(this.#hotUntil, at)
  }

  /**
   * The patience at a time, in milliseconds, with a channel on which a message was refused or none. One that was warm
   * before the failover is served as soon as there is a leader, and a fresh one would not be.
   */
  ms(at: number, wasRefused: boolean, isWarm = false): number {
    if (isWarm && !wasRefused) return PATIENCE_MS
    if (at - this.#failoverAt < TROUBLE_MS) {
      return wasRefused || at < this.#hotUntil ? HOT_PATIENCE_MS : TROUBLE_PATIENCE_MS
    }
    return Math.min(PATIENCE_MS * 2 ** this.#vain, MAX_PATIENCE_MS)
  }
}
