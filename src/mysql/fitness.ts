import { now } from '../core/timing.js'

/** A node that stays fit for so long has its relapses forgotten; also the longest wait for one that relapses. */
const MAX_FAILBACK_DELAY_MS = 600_000

/** How long a node has been fit to be written to, and how often it broke: what decides when it is preferred again. @internal */
export class Fitness {
  readonly #failbackDelayMs: number
  #fitSince: number | undefined
  #hasBroken = false
  #relapses = 0

  constructor(failbackDelayMs: number) {
    this.#failbackDelayMs = failbackDelayMs
  }

  /** Takes note of what the node is now. */
  note(isFit: boolean): void {
    if (isFit) {
      this.#fitSince ??= now()
      return
    }
    if (this.#fitSince !== undefined && this.#hasBroken) {
      this.#relapses = now() - this.#fitSince < MAX_FAILBACK_DELAY_MS ? this.#relapses + 1 : 0
    }
    this.#hasBroken = true
    this.#fitSince = undefined
  }

  /**
   * The shorter of the server's uptime and the time it was seen fit without a break; 0 when it is not fit.
   *
   * A node that never broke while this client watched was fit before, too: for it the uptime is all there is.
   */
  ageMs(uptimeMs: number): number {
    if (this.#fitSince === undefined) return 0
    return this.#hasBroken ? Math.min(now() - this.#fitSince, uptimeMs) : uptimeMs
  }

  /** The age from which the node may be preferred: doubles with each relapse. */
  get requiredAgeMs(): number {
    return Math.min(MAX_FAILBACK_DELAY_MS, this.#failbackDelayMs * 2 ** this.#relapses)
  }
}
