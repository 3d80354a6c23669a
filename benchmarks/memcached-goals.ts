import { errorCount, type FaultName, percentile } from '../test/harness/index.js'
import type { ClientRun } from './failover.js'

/** What one fault of a node may cost; milliseconds. */
interface Goal {
  readonly gapMs: number
  readonly medianGapMs?: number
  /** The node is gone until it is healed: all of its keys, and no others, are answered for elsewhere. */
  readonly movesShare?: boolean
}

/** The client's default `operationTimeoutMs`. */
const TIME_LIMIT_MS = 250
const AT_ONCE: Goal = { gapMs: 20, medianGapMs: 5 }
const SILENT: Goal = { gapMs: TIME_LIMIT_MS + 20, movesShare: true }
const GOALS: Readonly<Partial<Record<FaultName, Goal>>> = {
  kill: { ...AT_ONCE, movesShare: true },
  freeze: SILENT,
  blackhole: SILENT,
  reset: AT_ONCE,
}

/** The goals of the memcached client that a run has missed, in words; undefined when there is none for it. */
export function missedCacheGoals({
  client,
  fault,
  main,
  findings,
  loopDelayMs,
}: ClientRun): readonly string[] | undefined {
  const goal = GOALS[fault]
  if (goal === undefined || client !== 'ours') return undefined
  const { share = 0, inherited = 0 } = findings.notes
  const ms = main.gap.hasRecovered ? main.gap.ms : Infinity
  return [
    ...(ms > goal.gapMs
      ? [`gap ${ms.toFixed(1)} > ${goal.gapMs} ms (the process itself stood still for ${loopDelayMs.toFixed(1)})`]
      : []),
    ...(errorCount(main) > 0 ? [`${errorCount(main)} errors`] : []),
    ...(main.unsettled > 0 ? [`${main.unsettled} unsettled`] : []),
    ...(findings.moved > 0 ? [`${findings.moved} keys of healthy nodes moved`] : []),
    ...(goal.movesShare === true && inherited !== share ? [`${inherited} of the node's ${share} keys moved`] : []),
    ...(findings.stale > 0 ? [`${findings.stale} stale reads`] : []),
    ...(findings.wrong > 0 ? [`${findings.wrong} wrong values`] : []),
  ]
}

/** What the middle one of runs with the same fault has missed. */
export function missedCacheMedian(runs: readonly ClientRun[]): readonly string[] {
  const [run] = runs
  const goalMs = run === undefined || run.client !== 'ours' ? undefined : GOALS[run.fault]?.medianGapMs
  if (goalMs === undefined) return []
  const ms = medianGap(runs)
  return ms > goalMs ? [`median fault gap ${ms.toFixed(1)} > ${goalMs} ms`] : []
}

/** The middle one of gaps, by default of the faults' own; infinite when most runs did not recover. */
export function medianGap(runs: readonly ClientRun[], which: 'faultGap' | 'gap' = 'faultGap'): number {
  return percentile(
    runs.map(({ main }) => (main[which].hasRecovered ? main[which].ms : Infinity)),
    0.5,
  )
}
