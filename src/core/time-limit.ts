import { abortReason, now, onAbort, type Signal } from './timing.js'

/** Lateness that a healthy event loop shows under load; anything above is taken for a stall of our own. @internal */
export const TOLERATED_LATENESS_MS = 20

/** Beyond this Node's timers fire at once, with a warning on the console; about 24 days. @internal */
export const LONGEST_TIMER_MS = 2_147_483_647

/**
 * A time limit that our own event loop cannot make expire by stalling.
 *
 * After a long pause Node runs timers before it reads sockets, so the answer may already be waiting in the kernel.
 * Expiry is therefore judged after one poll phase, and when the timer came late, the time that the stall took away is
 * given back once (never more than the limit itself).
 * @internal
 */
export class TimeLimit {
  readonly #onExpired: () => void
  readonly #limitMs: number
  #timer: NodeJS.Timeout | undefined
  #check: NodeJS.Immediate | undefined
  #dueAt: number
  #extended = false

  constructor(limitMs: number, onExpired: () => void) {
    // Callers of public methods give this number: NaN and negative ones expire at once, Infinity after 24 days.
    this.#limitMs = limitMs > 0 ? Math.min(limitMs, LONGEST_TIMER_MS) : 0
    this.#onExpired = onExpired
    this.#dueAt = now() + this.#limitMs
    this.#timer = setTimeout(() => this.#afterPoll(), this.#limitMs)
  }

  /** Lets the process exit while this limit runs: for background work that nobody waits for. */
  unref(): this {
    this.#timer?.unref()
    return this
  }

  /** Ends the limit; `onExpired` will not be called any more. */
  clear(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#check)
    this.#timer = undefined
    this.#check = undefined
  }

  #afterPoll(): void {
    const lateMs = now() - this.#dueAt
    this.#check = setImmediate(() => {
      if (lateMs <= TOLERATED_LATENESS_MS || this.#extended) {
        this.clear()
        this.#onExpired()
        return
      }
      this.#extended = true
      const graceMs = Math.min(lateMs, this.#limitMs)
      this.#dueAt = now() + graceMs
      this.#timer = setTimeout(() => this.#afterPoll(), graceMs)
    })
  }
}

/** How a wait may end before its work does. Durations are milliseconds. */
export interface WaitOptions {
  /** Longest wait. The promise rejects with a `TimeoutError` when it runs out. */
  readonly timeoutMs?: number | undefined
  /** Ends the wait at once; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** How a wait within the package may end. @internal */
export interface WaitBounds {
  readonly timeoutMs?: number | undefined
  readonly signal?: Signal | undefined
}

/** Throws the reason of a signal that was aborted before the call. @internal */
export function assertWanted({ signal }: WaitOptions): void {
  if (signal?.aborted === true) throw abortReason(signal)
}

/** What is left of limits that hold for several steps, of which the first began at `startedAt`. @internal */
export function remaining(limits: WaitOptions, startedAt: number): WaitOptions {
  const { timeoutMs, signal } = limits
  return timeoutMs === undefined ? limits : { timeoutMs: Math.max(1, timeoutMs - (now() - startedAt)), signal }
}

/**
 * Waits for `work` within a limit and a signal, whichever ends first.
 *
 * The work itself goes on: its owner learns of the end by `onAbandoned` and cleans up what arrives later. A late
 * rejection is swallowed, because nobody waits for it any more.
 * @internal
 */
export async function waitWithin<T>(
  work: Promise<T>,
  options: WaitBounds,
  onTimeout: (elapsedMs: number) => Error,
  onAbandoned?: (reason: Error) => void,
): Promise<T> {
  const { timeoutMs, signal } = options
  if (timeoutMs === undefined && signal === undefined) return work
  if (signal?.aborted === true) {
    work.catch(() => undefined)
    const reason = abortReason(signal)
    onAbandoned?.(reason)
    throw reason
  }
  const startedAt = now()
  return new Promise<T>((resolve, reject) => {
    const finish = (): void => {
      limit?.clear()
      forget()
    }
    const abandon = (reason: Error): void => {
      finish()
      reject(reason)
      onAbandoned?.(reason)
    }
    const limit =
      timeoutMs === undefined ? undefined : new TimeLimit(timeoutMs, () => abandon(onTimeout(now() - startedAt)))
    const forget = onAbort(signal, () => abandon(abortReason(signal as Signal)))
    work.then(
      (value) => {
        finish()
        resolve(value)
      },
      (error: unknown) => {
        finish()
        reject(error)
      },
    )
  })
}
