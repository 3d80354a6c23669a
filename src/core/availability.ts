import type { FailoverEvent } from './events.js'
import { now } from './timing.js'

/** How available a service was through this client, since the client was made. Durations are milliseconds. */
export interface AvailabilityStatus {
  /** Wall-clock time the client was made, milliseconds since 1970. */
  readonly since: number
  /** Time without a usable host, the outage that is under way included. */
  readonly outageMs: number
  readonly outageCount: number
  /** True while no host is usable. */
  readonly isOut: boolean
  /** Share of the time with a usable host, 0 to 1, counted from the first usable host on. */
  readonly availability: number
  readonly failoverCount: number
  /** The latest failovers, oldest first; at most 20. */
  readonly failovers: readonly FailoverEvent[]
}

const KEPT_FAILOVERS = 20

/** Counts outages and failovers; the time before the first usable host is no outage. @internal */
export class Availability {
  readonly #since = Date.now()
  #readyAt: number | undefined
  #outSince: number | undefined
  #outageMs = 0
  #outageCount = 0
  #failoverCount = 0
  #failovers: FailoverEvent[] = []

  get isOut(): boolean {
    return this.#outSince !== undefined
  }

  /** A host is usable. Returns how long the outage was that this ends, if one was under way. */
  up(): number | undefined {
    this.#readyAt ??= now()
    if (this.#outSince === undefined) return undefined
    const elapsedMs = now() - this.#outSince
    this.#outageMs += elapsedMs
    this.#outSince = undefined
    return elapsedMs
  }

  /** No host is usable. Returns true when an outage starts with this. */
  down(): boolean {
    if (this.#readyAt === undefined || this.#outSince !== undefined) return false
    this.#outSince = now()
    this.#outageCount += 1
    return true
  }

  failover(event: FailoverEvent): void {
    this.#failoverCount += 1
    this.#failovers = [...this.#failovers, event].slice(-KEPT_FAILOVERS)
  }

  snapshot(): AvailabilityStatus {
    const at = now()
    const outageMs = this.#outageMs + (this.#outSince === undefined ? 0 : at - this.#outSince)
    const total = this.#readyAt === undefined ? 0 : at - this.#readyAt
    return Object.freeze({
      since: this.#since,
      outageMs,
      outageCount: this.#outageCount,
      isOut: this.isOut,
      availability: this.#readyAt === undefined ? 0 : total === 0 ? 1 : Math.max(0, 1 - outageMs / total),
      failoverCount: this.#failoverCount,
      failovers: Object.freeze([...this.#failovers]),
    })
  }
}
