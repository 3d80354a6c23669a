/** How a delay grows. */
export interface Backoff {
  /** First delay, in milliseconds. */
  readonly initialMs: number
  /** What each further step adds, in milliseconds (oslo.messaging grows this way). @default 0 */
  readonly addMs?: number
  /** What each further step multiplies by. @default 1 */
  readonly factor?: number
  /** No delay is longer than this, in milliseconds. */
  readonly maxMs: number
}

/**
 * Milliseconds to wait before attempt `attempt` (1 is the first retry).
 *
 * Jitter takes away up to half: never less than half of the plain delay, so that a retry is never immediate, and never
 * more than `maxMs`. `random` is a parameter so that tests need no stubbed globals.
 * @internal
 */
export function backoffDelay(attempt: number, backoff: Backoff, random: () => number = Math.random): number {
  const { initialMs, addMs = 0, factor = 1, maxMs } = backoff
  const steps = Math.max(0, attempt - 1)
  const base = initialMs + addMs * steps
  // `factor ** steps` reaches Infinity in a long outage, and 0 * Infinity is no number.
  const plain = base === 0 ? 0 : Math.min(maxMs, base * factor ** steps)
  return plain / 2 + (plain / 2) * random()
}
