import { TimeLimit } from '../core/time-limit.js'
import { now } from '../core/timing.js'

/** @internal */
export interface WaitLimitOptions {
  /** How long the wait may take in all. */
  readonly totalMs: number
  /** How long it may take while there is no node for it. */
  readonly heldMs: number
  /** True while there is none. */
  readonly isHeld: () => boolean
  readonly onExpired: () => void
}

/** The time limit of one caller that waits for a connection: it is shorter while there is no node for it. @internal */
export class WaitLimit {
  readonly #options: WaitLimitOptions
  readonly #lastAt: number
  #dueAt: number
  #limit: TimeLimit

  constructor(options: WaitLimitOptions) {
    const { totalMs, heldMs, isHeld } = options
    this.#options = options
    this.#lastAt = now() + totalMs
    this.#dueAt = isHeld() ? now() + Math.min(totalMs, heldMs) : this.#lastAt
    this.#limit = this.#start()
  }

  /** There is no node any more, and the wait for the next one begins. */
  hold(): void {
    const at = now() + this.#options.heldMs
    if (at < this.#dueAt) this.#waitUntil(at)
  }

  clear(): void {
    this.#limit.clear()
  }

  #waitUntil(at: number): void {
    this.#limit.clear()
    this.#dueAt = at
    this.#limit = this.#start()
  }

  #start(): TimeLimit {
    return new TimeLimit(this.#dueAt - now(), () => {
      if (this.#dueAt < this.#lastAt && !this.#options.isHeld()) this.#waitUntil(this.#lastAt)
      else this.#options.onExpired()
    })
  }
}
