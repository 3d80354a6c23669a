import type { Kind } from '../cluster/index.js'
import type { FaultName } from './fault.js'
import type { Gap } from './gap.js'
import type { Latency } from './recorder.js'
import type { Findings } from './scene.js'
import type { ReportedFailover } from './subject.js'

/** How one load went. */
export interface LoadResult {
  readonly workers: number
  readonly started: number
  readonly acknowledged: number
  /** Errors by their code. */
  readonly errors: Readonly<Record<string, number>>
  readonly unsettled: number
  /** The longest silence from the fault on, whatever it is due to. */
  readonly gap: Gap
  /** The one that began with the fault. */
  readonly faultGap: Gap
  /** The longest silence in the time before the fault: what the machine does without one. */
  readonly calmGapMs: number
  /** Acknowledged per second before the fault. */
  readonly ratePerSecond: number
  /** Before the fault. */
  readonly latency: Latency
}

/** Whether the fault has bitten. */
export interface Evidence {
  /** False makes the run void, whatever it shows. */
  readonly hasBitten: boolean
  /** What was looked at, in plain words, what failed first. */
  readonly notes: readonly string[]
}

/** Everything that one run showed; can be written as JSON. */
export interface RunResult {
  readonly subject: string
  readonly kind: Kind
  readonly fault: FaultName
  /** Number of the node that was hit. */
  readonly target: number
  /** How fast the cluster itself gives up on a node. */
  readonly cluster: Readonly<Record<string, string>>
  readonly seconds: number
  readonly evidence: Evidence
  readonly main: LoadResult
  readonly sides: Readonly<Record<string, LoadResult>>
  readonly series: Readonly<Record<string, Gap>>
  readonly oracles: Readonly<Record<string, LoadResult>>
  /** The servers' own pause: the gap of the first oracle. */
  readonly limitMs: number
  readonly findings: Findings
  /** Unhandled rejections and uncaught exceptions, in words. */
  readonly unhandled: readonly string[]
  readonly failovers: readonly ReportedFailover[]
  /** From the fault to the first failover that the client reported; undefined when it reported none. */
  readonly movedMs: number | undefined
  /** Longest time for which this process's event loop did not turn: gaps below it mean nothing. */
  readonly loopDelayMs: number
  /** The first errors, with milliseconds since the fault. */
  readonly firstErrors: readonly string[]
  /** What the client says about itself at the end. */
  readonly report: unknown
  /** What its other processes say about themselves. */
  readonly details: unknown
}

/** Broken promises of a run; empty for a client that keeps them all. */
export function violations(result: RunResult): readonly string[] {
  const { main, sides, findings, unhandled } = result
  const counts: Readonly<Record<string, number>> = {
    unsettled: main.unsettled + Object.values(sides).reduce((sum, side) => sum + side.unsettled, 0),
    unhandled: unhandled.length,
    lost: findings.lost,
    twice: findings.twice,
    denied: findings.denied,
    stale: findings.stale,
    wrong: findings.wrong,
    moved: findings.moved,
  }
  return Object.entries(counts).flatMap(([name, count]) => (count > 0 ? [`${count} ${name}`] : []))
}

export function errorCount({ errors }: LoadResult): number {
  return Object.values(errors).reduce((sum, count) => sum + count, 0)
}
