import { type Gap, longestGap, type Window } from './gap.js'

/** Which process has handled which message, how often and when. */
export class Deliveries {
  readonly #handled: readonly Map<string, number>[]
  /** Of the first copy that a process has handled; on the clock of `performance.now()`. */
  readonly #times: readonly number[][]
  readonly #elsewhere = new Set<string>()
  #lastAt = 0

  constructor(processes: number) {
    this.#handled = Array.from({ length: processes }, () => new Map<string, number>())
    this.#times = this.#handled.map(() => [])
  }

  note(process: number, id: string, at: number): void {
    const handled = this.#handled[process]
    if (handled === undefined) throw new Error(`there is no process ${process}`)
    const count = handled.get(id) ?? 0
    handled.set(id, count + 1)
    if (count === 0) this.#times[process]?.push(at)
    this.#lastAt = Math.max(this.#lastAt, at)
  }

  /** Handled by somebody who is not under test. */
  noteElsewhere(id: string): void {
    this.#elsewhere.add(id)
  }

  get lastAt(): number {
    return this.#lastAt
  }

  has(id: string): boolean {
    return this.#elsewhere.has(id) || this.#handled.some((handled) => handled.has(id))
  }

  /** For each message, how often the process has handled it that has handled it most often. */
  get most(): ReadonlyMap<string, number> {
    const most = new Map<string, number>([...this.#elsewhere].map((id) => [id, 1]))
    for (const handled of this.#handled) {
      for (const [id, count] of handled) most.set(id, Math.max(count, most.get(id) ?? 0))
    }
    return most
  }

  /** How often a message was handled by a further process. */
  get acrossProcesses(): number {
    const total = this.#handled.reduce((sum, { size }) => sum + size, this.#elsewhere.size)
    return total - this.most.size
  }

  /** The longest silence of these processes together. */
  gap(window: Window, processes: readonly number[]): Gap {
    // Processes tell in batches, so that what came first need not have been told first.
    const times = processes.flatMap((process) => this.#times[process] ?? []).sort((a, b) => a - b)
    return longestGap(times, window)
  }
}
