import { identity, type Message } from './message.js'

const MAX_KEPT = 10_000

/**
 * How often each message failed in this process.
 *
 * The broker's own count is not used: classic queues have none, and that of quorum queues also counts lost connections,
 * so that a few failovers would reject a message whose handler failed once.
 * @internal
 */
export class FailureCounts {
  readonly #counts = new Map<string, number>()

  /** Counts one more failure and returns how many there were. */
  add(message: Message): number {
    const key = identity(message)
    const count = (this.#counts.get(key) ?? 0) + 1
    this.#counts.delete(key)
    this.#counts.set(key, count)
    if (this.#counts.size > MAX_KEPT) {
      for (const oldest of this.#counts.keys()) {
        this.#counts.delete(oldest)
        break
      }
    }
    return count
  }

  /** Forgets a message that has been dealt with. */
  forget(message: Message): void {
    if (this.#counts.size > 0) this.#counts.delete(identity(message))
  }
}
