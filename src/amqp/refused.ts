import { backoffDelay } from '../core/backoff.js'
import type { Entry } from './entry.js'

/** A refused message goes out again after this, or when there is a new channel. */
const PAUSE = Object.freeze({ initialMs: 200, factor: 2, maxMs: 2000 })

/** Messages that the broker refused or returned, until they go out again. @internal */
export class Refused {
  readonly #onDue: (entry: Entry) => void
  readonly #timers = new Map<Entry, NodeJS.Timeout>()

  constructor(onDue: (entry: Entry) => void) {
    this.#onDue = onDue
  }

  get size(): number {
    return this.#timers.size
  }

  /** Keeps a message that was refused `refusals` times by now. */
  add(entry: Entry, refusals: number): void {
    this.#timers.set(
      entry,
      setTimeout(() => this.#release(entry), backoffDelay(refusals, PAUSE)),
    )
  }

  /** There is a new channel: no need to wait any longer. */
  releaseAll(): void {
    for (const [entry, timer] of [...this.#timers]) {
      clearTimeout(timer)
      this.#release(entry)
    }
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }

  #release(entry: Entry): void {
    this.#timers.delete(entry)
    this.#onDue(entry)
  }
}
