import { LinkedList, type Place } from './linked-list.js'
import { LONGEST_TIMER_MS, TimeLimit, TOLERATED_LATENESS_MS } from './time-limit.js'
import { now } from './timing.js'

/** A limit that runs. @internal */
export interface Deadline {
  /** Ends the limit; its owner will not be called any more. */
  clear(): void
}

/** Whose limit it is. @internal */
export interface Expiring {
  /** The limit ran out. */
  onExpired(): void
}

/** Limits this much apart may share a timer: each is late by at most this. */
const COARSEST_MS = 32
/** Limits are at most lengthened by this share. */
const COARSENESS = 1 / 64
/** Empty series are kept for the next message up to this many. */
const MAX_IDLE_SERIES = 256

/**
 * What {@link TimeLimit} does, for a great many limits of few different lengths: one timer for all of one length.
 *
 * The same promise: a limit that ran out because our own event loop stalled is judged after one poll phase, and gets
 * back once what the stall took away.
 * @internal
 */
export class Deadlines {
  /** By length; within one, what began first ends first. */
  readonly #series = new Map<number, Series>()

  /** Calls `owner.onExpired()` after `limitMs`, unless it is cleared before. */
  add(limitMs: number, owner: Expiring): Deadline {
    const wanted = limitMs > 0 ? Math.min(limitMs, LONGEST_TIMER_MS) : 0
    const grain = Math.max(1, Math.min(COARSEST_MS, Math.floor(wanted * COARSENESS)))
    const lengthMs = Math.min(Math.ceil(wanted / grain) * grain, LONGEST_TIMER_MS)
    let series = this.#series.get(lengthMs)
    if (series === undefined) {
      series = new Series(lengthMs, (idle) => this.#drop(idle))
      this.#series.set(lengthMs, series)
    }
    return series.add(owner)
  }

  /** A timer that waits for nothing is kept for the next message, unless there are many such. */
  #drop(series: Series): void {
    if (this.#series.size <= MAX_IDLE_SERIES && series.isTicking) return
    series.stop()
    if (this.#series.get(series.lengthMs) === series) this.#series.delete(series.lengthMs)
  }
}

class Running implements Deadline {
  readonly owner: Expiring
  readonly #series: Series
  readonly dueAt: number
  place: Place<Running> | undefined
  /** Its second end, after a stall of ours delayed the first. */
  grace: TimeLimit | undefined

  constructor(series: Series, owner: Expiring, dueAt: number) {
    this.#series = series
    this.owner = owner
    this.dueAt = dueAt
  }

  clear(): void {
    this.grace?.clear()
    this.#series.remove(this)
  }
}

/** All limits of one length. */
class Series {
  readonly lengthMs: number
  readonly #onIdle: (series: Series) => void
  readonly #running = new LinkedList<Running>()
  #timer: NodeJS.Timeout | undefined
  #check: NodeJS.Immediate | undefined

  constructor(lengthMs: number, onIdle: (series: Series) => void) {
    this.lengthMs = lengthMs
    this.#onIdle = onIdle
  }

  get isTicking(): boolean {
    return this.#timer !== undefined || this.#check !== undefined
  }

  add(owner: Expiring): Deadline {
    const running = new Running(this, owner, now() + this.lengthMs)
    running.place = this.#running.push(running)
    if (this.#timer !== undefined) this.#timer.ref()
    else if (this.#check === undefined) this.#armFor(this.#running.first ?? running)
    return running
  }

  remove(running: Running): void {
    if (running.place === undefined || !this.#running.remove(running.place) || this.#running.size > 0) return
    // The timer stays for the next one, but keeps no process alive.
    this.#timer?.unref()
    this.#onIdle(this)
  }

  stop(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#check)
    this.#timer = undefined
    this.#check = undefined
  }

  #armFor({ dueAt }: Running): void {
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        const firedAt = now()
        this.#check = setImmediate(() => {
          this.#check = undefined
          this.#judge(firedAt)
        })
      },
      Math.max(1, Math.ceil(dueAt - now())),
    )
  }

  #judge(firedAt: number): void {
    let first = this.#running.first
    for (; first !== undefined && first.dueAt <= firedAt; first = this.#running.first) {
      this.#running.shift()
      const lateMs = firedAt - first.dueAt
      const { owner } = first
      if (lateMs <= TOLERATED_LATENESS_MS) owner.onExpired()
      else first.grace = new TimeLimit(Math.min(lateMs, this.lengthMs), () => owner.onExpired())
    }
    if (first === undefined) this.#onIdle(this)
    else if (!this.isTicking) this.#armFor(first)
  }
}
