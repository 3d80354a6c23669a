import { now } from '../core/timing.js'
import type { DriverConnection } from './driver.js'

/** One statement under way. @internal */
export interface Call {
  readonly startedAt: number
  /** Where the answer is due; `undefined` for the probe's own. */
  readonly connection: DriverConnection | undefined
}

/** How often they are looked at while one is unanswered, in milliseconds. */
const CHECK_INTERVAL_MS = 50

/**
 * The statements under way on one node, and the suspicion that grows when one stays unanswered.
 *
 * A frozen node's kernel still accepts connections and acknowledges data: only an answer that never comes tells. One
 * timer looks at all calls; a timer per call would cost more than the call. @internal
 */
export class Calls {
  readonly #running = new Set<Call>()
  readonly #suspectAfterMs: number
  readonly #onSilence: (silentSince: number) => void
  #timer: NodeJS.Timeout | undefined
  #answeredAt = 0

  constructor(suspectAfterMs: number, onSilence: (silentSince: number) => void) {
    this.#suspectAfterMs = suspectAfterMs
    this.#onSilence = onSilence
  }

  get count(): number {
    return this.#running.size
  }

  /** When a statement was answered last, on the monotonic clock. */
  get answeredAt(): number {
    return this.#answeredAt
  }

  has(call: Call): boolean {
    return this.#running.has(call)
  }

  /** The calls that have been under way for so long, the oldest first. */
  olderThan(ageMs: number): readonly Call[] {
    const startedBefore = now() - ageMs
    const old: Call[] = []
    for (const call of this.#running) {
      if (call.startedAt > startedBefore) break
      old.push(call)
    }
    return old
  }

  start(connection?: DriverConnection): Call {
    const call = { startedAt: now(), connection }
    this.#running.add(call)
    this.#timer ??= setTimeout(() => this.#check(), this.#suspectAfterMs).unref()
    return call
  }

  end(call: Call, isAnswered: boolean): void {
    this.#running.delete(call)
    if (isAnswered) this.#answeredAt = now()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #check(): void {
    this.#timer = undefined
    // After a stall of our own the answer may already wait in the socket: look again after one poll phase.
    setImmediate(() => {
      if (this.#running.size === 0) return
      this.#timer ??= setTimeout(() => this.#check(), CHECK_INTERVAL_MS).unref()
      // The youngest: what the node has answered since an older one began says less about it.
      const silent = this.olderThan(this.#suspectAfterMs).at(-1)
      if (silent !== undefined) this.#onSilence(silent.startedAt)
    })
  }
}

/**
 * How long a node may say nothing at all before it is suspected for a call that began at `startedAt` and has no answer.
 *
 * What it answered later, to others, excuses the call: it is slow, or waits for a lock. The longer it is known to be slow
 * the less it says, or one slow statement would have its node asked several times a second for as long as it runs.
 * @internal
 */
export function patienceMs(startedAt: number, heardAt: number, suspectAfterMs: number): number {
  return Math.max(suspectAfterMs, (heardAt - startedAt) / 2)
}
