import { now } from '../core/timing.js'

/** One statement under way. @internal */
export interface Call {
  readonly startedAt: number
}

/** How often the oldest call is looked at, in milliseconds. */
const CHECK_INTERVAL_MS = 50

/**
 * The statements under way on one node, and the suspicion that grows when one stays unanswered.
 *
 * A frozen node's kernel still accepts connections and acknowledges data: only an answer that never comes tells. One
 * timer looks at the oldest call; a timer per call would cost more than the call. @internal
 */
export class Calls {
  readonly #running = new Set<Call>()
  readonly #suspectAfterMs: number
  readonly #onSilence: (silentSince: number) => void
  #timer: NodeJS.Timeout | undefined

  constructor(suspectAfterMs: number, onSilence: (silentSince: number) => void) {
    this.#suspectAfterMs = suspectAfterMs
    this.#onSilence = onSilence
  }

  get count(): number {
    return this.#running.size
  }

  start(): Call {
    const call = { startedAt: now() }
    this.#running.add(call)
    this.#timer ??= setTimeout(() => this.#check(), this.#suspectAfterMs).unref()
    return call
  }

  end(call: Call): void {
    this.#running.delete(call)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #check(): void {
    this.#timer = undefined
    // After a stall of our own the answer may already wait in the socket: look again after one poll phase.
    setImmediate(() => {
      const [oldest] = this.#running
      if (oldest === undefined) return
      this.#timer ??= setTimeout(() => this.#check(), CHECK_INTERVAL_MS).unref()
      if (now() - oldest.startedAt >= this.#suspectAfterMs) this.#onSilence(oldest.startedAt)
    })
  }
}
