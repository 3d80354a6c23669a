import { errorCount, type FaultName } from '../test/harness/index.js'
import type { ClientRun } from './failover.js'

/** What one fault of the writer may cost the exactly-once client; milliseconds. */
interface Goal {
  /** More than the oracle's own gap. */
  readonly overLimitMs?: number
  readonly gapMs?: number
  /** The client has left the node by then. */
  readonly movedMs?: number
  readonly readGapMs?: number
}

const PLANNED: Goal = { gapMs: 300, movedMs: 1500 }
const GOALS: Readonly<Partial<Record<FaultName, Goal>>> = {
  kill: { overLimitMs: 100, readGapMs: 250 },
  freeze: { overLimitMs: 500, readGapMs: 1500 },
  blackhole: { gapMs: 1500 },
  stop: { overLimitMs: 300 },
  'read-only': PLANNED,
  desync: PLANNED,
}
const FAST_BLACKHOLE: Goal = { gapMs: 1000 }

/** The clients that the goals are for. */
const FOR = ['ours-exactly-once', 'ours-fast-probe']

/** The goals of the MySQL client that a run has missed, in words; undefined when there is none for it. */
export function missedGoals(run: ClientRun): readonly string[] | undefined {
  const { client } = run
  const goal = client === 'ours-fast-probe' && run.fault === 'blackhole' ? FAST_BLACKHOLE : GOALS[run.fault]
  if (goal === undefined || !FOR.includes(client)) return undefined
  const { main, sides, limitMs, movedMs } = run
  const reads = sides['reads']
  const most = (name: string, ms: number | undefined, goalMs: number | undefined): readonly string[] =>
    goalMs === undefined || (ms !== undefined && ms <= goalMs)
      ? []
      : [`${name} ${ms === undefined ? 'never' : Math.round(ms)} > ${Math.round(goalMs)} ms`]
  const gap = main.gap.hasRecovered ? main.gap.ms : undefined
  return [
    ...most('gap', gap, goal.gapMs ?? limitMs + (goal.overLimitMs ?? Infinity)),
    ...most('moved', movedMs, goal.movedMs),
    ...most('read gap', reads?.gap.hasRecovered === true ? reads.gap.ms : undefined, goal.readGapMs),
    ...(errorCount(main) > 0 ? [`${errorCount(main)} errors`] : []),
    ...(reads !== undefined && errorCount(reads) > 0 ? [`${errorCount(reads)} read errors`] : []),
  ]
}
