import { Ledger } from './ledger.js'
import type { Operation, Outcome } from './operation.js'
import { faultGap, type Gap, longestGap, percentile, type Window } from './gap.js'
import { Series } from './series.js'

/** How fast operations were acknowledged. */
export interface Latency {
  readonly p50Ms: number
  readonly p99Ms: number
}

const numbers = (): Series<Float64Array> => new Series((length) => new Float64Array(length))

/** Everything that is known of one load: what was asked, answered, and when. */
export class Recorder {
  readonly ledger: Ledger = new Ledger()
  /** Errors by their code. */
  readonly errors: Map<string, number> = new Map()
  /** The first few errors in full, with the time at which they came. */
  readonly firstErrors: { readonly at: number; readonly error: unknown }[] = []
  started = 0
  acknowledged = 0
  /** Operations that were not settled when they should have been, also if they were later. */
  unsettled = 0
  /** Times of the acknowledgements, ascending, and how long each took. */
  readonly #times = numbers()
  readonly #durations = numbers()

  start(operation: Operation): void {
    this.started += 1
    this.ledger.start(operation)
  }

  acknowledge(operation: Operation, startedAt: number): void {
    const at = performance.now()
    this.ledger.settle(operation, 'acknowledged')
    this.acknowledged += 1
    this.#times.add(at)
    this.#durations.add(at - startedAt)
  }

  fail(operation: Operation, outcome: Outcome, error: unknown): void {
    this.ledger.settle(operation, outcome)
    const code = codeOf(error)
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
    if (this.firstErrors.length < 10) this.firstErrors.push({ at: performance.now(), error })
  }

  get errorCount(): number {
    return [...this.errors.values()].reduce((sum, count) => sum + count, 0)
  }

  gap(window: Window): Gap {
    return longestGap(this.#times.values(), window)
  }

  faultGap(window: Window): Gap {
    return faultGap(this.#times.values(), window)
  }

  /** Of the operations acknowledged within the window. */
  latency(window: Window): Latency {
    const times = this.#times.values()
    const durations = this.#durations.values().filter((_, i) => {
      const at = times[i] ?? 0
      return at >= window.from && at < window.to
    })
    return { p50Ms: percentile(durations, 0.5), p99Ms: percentile(durations, 0.99) }
  }

  /** Operations acknowledged within the window. */
  countIn(window: Window): number {
    return this.#times.values().filter((at) => at >= window.from && at < window.to).length
  }
}

/** A short stable name for an error. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  const { code } = error as { readonly code?: string | number }
  if (code !== undefined && code !== '') return String(code)
  return error.constructor.name === 'Error' ? error.message.slice(0, 40) : error.constructor.name
}

/** An error with its code, on one line. */
export function inWords(error: unknown): string {
  return `${codeOf(error)}: ${error instanceof Error ? error.message : String(error)}`
}
