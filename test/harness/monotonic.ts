/** The clock that all processes of this machine share, in milliseconds. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** A moment of {@link monotonicMs} on this process's `performance.now()`. */
export function onOwnClock(monotonic: number): number {
  return monotonic - (monotonicMs() - performance.now())
}

/** A moment of this process's `performance.now()` on {@link monotonicMs}. */
export function onSharedClock(own: number): number {
  return own + (monotonicMs() - performance.now())
}
