import { type Operation, operation, type Outcome } from './operation.js'
import { Recorder } from './recorder.js'
import { sleep } from './timing.js'

/** What is done, by how many, and how fast. */
export interface Load {
  readonly workers: number
  /** Resolves when the operation is acknowledged. */
  readonly operate: (operation: Operation) => Promise<void>
  /** What a rejection says about the operation. @default unknown */
  readonly outcomeOf?: (error: unknown) => Outcome
  /** Operations per second of all workers together; as fast as they are answered when not given. */
  readonly ratePerSecond?: number
  /** Pause between two operations of a worker. @default 0 */
  readonly pauseMs?: number
  /**
   * An operation that is not settled after this is counted as unsettled, and its worker goes on with the next one.
   * @default 35_000, which is longer than any limit that the clients here have
   */
  readonly allowanceMs?: number
}

/** As a service would wait; and without it a client that refuses at once would keep every timer from running. */
const PAUSE_AFTER_ERROR_MS = 5
const WATCH_MS = 100
const DEFAULT_ALLOWANCE_MS = 35_000

/** An operation that its worker waits for. */
interface Running {
  readonly operation: Operation
  readonly startedAt: number
  /** Lets the worker go on; `isWell` is false after an error. */
  readonly goOn: (isWell: boolean) => void
  /** Settled, or given up. */
  isOver: boolean
}

/**
 * Workers that each do one operation after the other.
 *
 * Closed loop: the next operation of a worker starts when its last one is settled. With a rate it starts at its time
 * in the schedule, or at once when that is over; what was missed is not made up for.
 */
export class Workload {
  readonly recorder: Recorder = new Recorder()
  readonly #load: Load
  /** By worker: what it waits for, or waited for last. */
  readonly #current = new Map<number, Running>()
  #runningCount = 0
  #isStopped = false
  #watch: NodeJS.Timeout | undefined

  constructor(load: Load) {
    this.#load = load
  }

  start(): this {
    this.#watch = setInterval(() => this.#countOverdue(), WATCH_MS)
    const startedAt = performance.now()
    for (let worker = 0; worker < this.#load.workers; worker += 1) void this.#work(worker, startedAt)
    return this
  }

  /** Starts nothing new. */
  stop(): void {
    this.#isStopped = true
  }

  /** Operations that are under way. */
  get running(): number {
    return this.#runningCount
  }

  /** Stops, gives what is under way so much time, and counts the rest as unsettled. */
  async finish(withinMs: number): Promise<void> {
    this.stop()
    const deadline = performance.now() + withinMs
    while (this.#runningCount > 0 && performance.now() < deadline) await sleep(10)
    clearInterval(this.#watch)
    for (const each of this.#current.values()) this.#giveUp(each)
  }

  async #work(worker: number, startedAt: number): Promise<void> {
    const { workers, ratePerSecond, pauseMs = 0 } = this.#load
    const everyMs = ratePerSecond === undefined ? 0 : (1000 * workers) / ratePerSecond
    let due = startedAt + (everyMs * worker) / workers
    for (let sequence = 1; ; sequence += 1) {
      const early = due - performance.now()
      if (early > 0) await sleep(early)
      if (this.#isStopped) return
      const isWell = await this.#perform(operation(worker, sequence))
      if (!isWell || pauseMs > 0) await sleep(Math.max(pauseMs, isWell ? 0 : PAUSE_AFTER_ERROR_MS))
      due = Math.max(due + everyMs, everyMs === 0 ? 0 : performance.now() - everyMs)
    }
  }

  /** Resolves when the operation is settled or overdue; with false after an error. */
  #perform(each: Operation): Promise<boolean> {
    return new Promise((goOn) => {
      const running: Running = { operation: each, startedAt: performance.now(), goOn, isOver: false }
      this.#current.set(each.worker, running)
      this.#runningCount += 1
      this.recorder.start(each)
      void this.#attempt(running)
    })
  }

  async #attempt(running: Running): Promise<void> {
    const { operation: each, startedAt } = running
    const { recorder } = this
    let isWell = false
    try {
      await this.#load.operate(each)
      recorder.acknowledge(each, startedAt)
      isWell = true
    } catch (error) {
      recorder.fail(each, this.#load.outcomeOf?.(error) ?? 'unknown', error)
    }
    this.#runningCount -= 1
    running.isOver = true
    running.goOn(isWell)
  }

  #countOverdue(): void {
    const before = performance.now() - (this.#load.allowanceMs ?? DEFAULT_ALLOWANCE_MS)
    for (const each of this.#current.values()) if (each.startedAt < before) this.#giveUp(each)
  }

  #giveUp(running: Running): void {
    if (running.isOver) return
    running.isOver = true
    this.recorder.unsettled += 1
    running.goOn(true)
  }
}
