import { errorCount, type Gap, violations } from '../../test/harness/index.js'
import type { ClientRun } from '../failover.js'
import { MAYBE_EXECUTED } from './node.js'

/** Longest time without an answer, in milliseconds. */
const GAPS: Readonly<Record<string, number>> = { kill: 500, freeze: 3000, blackhole: 3000 }

/** The goals of RPC that a run has missed, in words; undefined when there is none for it. */
export function missedRpcGoals(run: ClientRun): readonly string[] | undefined {
  const goalMs = GAPS[run.row]
  if (goalMs === undefined) return undefined
  switch (run.client) {
    case 'ours':
      return [...violations(run), ...gapMissed('new calls', run.sides['new calls']?.gap, goalMs), ...failures(run)]
    case 'ours-idempotent':
      return [
        ...violations(run),
        ...gapMissed('gap', run.main.gap, goalMs),
        ...gapMissed('new calls', run.sides['new calls']?.gap, goalMs),
        ...(errorCount(run.main) > 0 ? [`${errorCount(run.main)} failed calls`] : []),
        ...(newErrors(run) > 0 ? [`${newErrors(run)} failed new calls`] : []),
      ]
    case 'ours-to-python':
      return [...violations(run), ...failures(run)]
    case 'ours-from-python':
      return serverProblems(run)
    default:
      return undefined
  }
}

/** Failed calls beside the callers' own. */
export function newErrors({ sides }: ClientRun): number {
  return Object.values(sides).reduce((sum, side) => sum + errorCount(side), 0)
}

/** Of a caller whose requests must not be sent twice: those that were on their way may fail, at their limit. */
function failures({ main, findings, movedMs, row }: ClientRun): readonly string[] {
  const { inFlight = 0, failedLater = 0, failedAfterMove = 0 } = findings.notes
  const others = Object.entries(main.errors).filter(([kind]) => kind !== MAYBE_EXECUTED)
  return [
    ...(errorCount(main) > inFlight
      ? [`${errorCount(main)} failed calls, of ${inFlight} in flight at the ${row}`]
      : []),
    ...(failedLater > 0 ? [`${failedLater} failed calls that began later`] : []),
    ...(failedAfterMove > 0 ? [`${failedAfterMove} failed calls that began after the caller had moved`] : []),
    ...others.map(([kind, count]) => `${count} failed by ${kind}`),
    ...(movedMs === undefined ? ['the caller has not moved'] : []),
  ]
}

/** What a caller in Python may blame the server for. */
function serverProblems({ findings, unhandled }: ClientRun): readonly string[] {
  const { serverFailed = 0, malformed = 0 } = findings.notes
  const { lost, twice, wrong } = findings
  const counts = { lost, twice, wrong, 'failed in the server': serverFailed, malformed, unhandled: unhandled.length }
  return Object.entries(counts).flatMap(([what, count]) => (count > 0 ? [`${count} ${what}`] : []))
}

function gapMissed(name: string, gap: Gap | undefined, goalMs: number): readonly string[] {
  if (gap?.hasRecovered === true && gap.ms <= goalMs) return []
  return [`${name} ${gap?.hasRecovered === true ? Math.round(gap.ms) : 'never'} > ${goalMs} ms`]
}
