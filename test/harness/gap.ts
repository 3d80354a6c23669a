/** The longest silence in a series of acknowledgements. */
export interface Gap {
  readonly ms: number
  /** When it began, counted from the beginning of the window; negative when it began before it. */
  readonly atMs: number
  /** False when the window ended in silence: then `ms` is only how long nothing came. */
  readonly hasRecovered: boolean
}

/** The part of a run that is looked at, on the clock of the series. */
export interface Window {
  readonly from: number
  readonly to: number
  /** When the fault had been done; when it began is `from`. */
  readonly struckAt?: number
  /** A part in which the measuring process was busy with something else; not looked at, unless there is silence before it. */
  readonly without?: { readonly from: number; readonly to: number } | undefined
}

/** A silence of this length at the end of the window is no pause but an end. */
const END_MS = 1000
/** A silence of this length before a part that is left out may go on within it, so that nothing can be left out. */
const DOUBTFUL_MS = 100

/**
 * The longest time without an entry of `times` (ascending) that touches the window.
 *
 * A pause is measured from the last entry before the window, if there is one: what stops before the fault is seen
 * does not stop later because somebody looks.
 */
export function longestGap(times: readonly number[], window: Window, endMs: number = END_MS): Gap {
  const { from, to, without } = window
  if (without !== undefined && without.to < to) {
    const before = gapWithin(times, { from, to: without.from }, DOUBTFUL_MS)
    const after = gapWithin(times, { from: without.to, to }, endMs, without.to)
    const shifted = { ...after, atMs: after.atMs + without.to - from }
    if (before.hasRecovered) return after.hasRecovered && before.ms >= after.ms ? before : shifted
  }
  return gapWithin(times, { from, to }, endMs)
}

/** A pause that begins later than this after the fault is no longer its doing, but that of the machine or of garbage. */
const ONSET_MS = 20

/** The longest silence that had begun {@link ONSET_MS} after the fault was done: the one that began with the fault. */
export function faultGap(times: readonly number[], window: Window): Gap {
  const next = times[firstAtOrAfter(times, (window.struckAt ?? window.from) + ONSET_MS)]
  if (next === undefined || next > window.to) return longestGap(times, window)
  return gapWithin(times, { from: window.from, to: next }, END_MS)
}

/** Nothing before `floor` counts. */
function gapWithin(times: readonly number[], window: Window, endMs: number, floor = -Infinity): Gap {
  const first = firstAtOrAfter(times, window.from)
  let last = Math.max(times[first - 1] ?? window.from, floor)
  let longest = { ms: 0, atMs: 0 }
  const consider = (until: number): void => {
    if (until - last > longest.ms) longest = { ms: until - last, atMs: last - window.from }
  }
  for (let i = first; i < times.length; i += 1) {
    const time = times[i] ?? window.to
    if (time > window.to) break
    consider(time)
    last = time
  }
  const silence = window.to - last
  const hasRecovered = silence < Math.min(endMs, window.to - window.from)
  // The pause under way when the window ends counts as far as it has come.
  consider(window.to)
  if (!hasRecovered) return { ms: silence, atMs: last - window.from, hasRecovered }
  return { ...longest, hasRecovered }
}

function firstAtOrAfter(times: readonly number[], from: number): number {
  let [low, high] = [0, times.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((times[middle] ?? from) < from) low = middle + 1
    else high = middle
  }
  return low
}

/** The value below which `share` (0 to 1) of the values are; 0 when there is none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}
