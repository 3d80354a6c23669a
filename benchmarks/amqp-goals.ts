import { type Gap, violations } from '../test/harness/index.js'
import type { ClientRun } from './failover.js'

/** What one row of the table may cost our client; milliseconds. */
interface Goal {
  /** More than the oracle's own gap, publishing and delivering alike. */
  readonly overLimitMs?: number
  /** Until every connection to the node is given up. */
  readonly leftMs?: number
  /** Nothing fails over, and every connection stays. */
  readonly staysPut?: boolean
  /** Publishes that had their whole time may fail. */
  readonly mayTimeOut?: boolean
}

const SPLAY_MS = 100
const HEARTBEAT_MS = 10_000
/** No round of attempts has a longer pause after it. */
const LONGEST_ROUND_DELAY_MS = 5000

const SILENT: Goal = { overLimitMs: 2500 }
const IDLE: Goal = { leftMs: 2 * HEARTBEAT_MS }
const GOALS: Readonly<Record<string, Goal>> = {
  kill: { overLimitMs: SPLAY_MS + 150 },
  freeze: SILENT,
  blackhole: SILENT,
  'freeze-idle': IDLE,
  'blackhole-idle': IDLE,
  'next-silent': { overLimitMs: 800 },
  'next-silent-cold': { overLimitMs: 800 },
  'two-down': { overLimitMs: 500 },
  'all-down': { overLimitMs: LONGEST_ROUND_DELAY_MS + 2000, mayTimeOut: true },
  alarm: { staysPut: true },
}

/** The goals of the AMQP transport that a run has missed, in words; undefined when there is none for it. */
export function missedAmqpGoals(run: ClientRun): readonly string[] | undefined {
  const goal = GOALS[run.row]
  if (goal === undefined || run.client !== 'ours') return undefined
  const { findings, main } = run
  const { notes } = findings
  const { notConsumed: abandoned = 0 } = notes
  const errors = goal.mayTimeOut === true ? (notes['earlyErrors'] ?? 0) : sum(Object.values(main.errors))
  return [
    ...violations(run),
    ...gapsMissed(run, goal),
    ...(goal.leftMs === undefined ? [] : most('left', notes['leftMs'], goal.leftMs)),
    ...(goal.staysPut === true ? moves(run) : []),
    ...(errors > 0 ? [`${errors} errors to callers`] : []),
    ...(abandoned > 0 ? [`${abandoned} confirmed, but not consumed`] : []),
  ]
}

/** What a row needs in order to prove anything, and was not the case; in words. */
export function rowDoubts(run: ClientRun): readonly string[] {
  const { notes } = run.findings
  return [
    ...(notes['connections'] === 0 ? ['nobody was connected to the node'] : []),
    ...(run.row === 'next-silent-cold' && notes['silentDials'] === 0 ? ['nobody tried the silent host'] : []),
    ...(run.row === 'alarm' && run.main.gap.ms < 2000 ? ['the alarm did not stop publishing'] : []),
  ]
}

/** The servers' own pause in handing out messages; the one in confirming them where nobody survives to be asked. */
export function deliveryLimitMs({ oracles, limitMs }: ClientRun): number {
  const found = Object.entries(oracles).find(([name]) => name.startsWith('consume'))
  return found === undefined ? limitMs : Math.max(limitMs, found[1].gap.ms)
}

/** All series of deliveries that have to be there again. */
export function deliveries({ series }: ClientRun): readonly (readonly [name: string, gap: Gap])[] {
  return Object.entries(series)
}

function gapsMissed(run: ClientRun, { overLimitMs, leftMs }: Goal): readonly string[] {
  const { main, series, limitMs } = run
  const last = (gap: Gap | undefined): number | undefined => (gap?.hasRecovered === true ? gap.ms : undefined)
  const stopped = deliveries(run).flatMap(([name, gap]) => (gap.hasRecovered ? [] : [`${name}: never again`]))
  if (leftMs !== undefined || overLimitMs === undefined) {
    return [...(main.gap.hasRecovered ? [] : ['publishing: never again']), ...stopped]
  }
  return [
    ...most('gap', last(main.gap), limitMs + overLimitMs),
    ...most('delivery gap', last(series['deliveries']), deliveryLimitMs(run) + overLimitMs),
    ...stopped,
  ]
}

function moves({ failovers, findings }: ClientRun): readonly string[] {
  const { connections = 0, connectionsLeft = 0, consumerFailovers = 0 } = findings.notes
  const count = failovers.length + consumerFailovers
  return [
    ...(count > 0 ? [`${count} failovers`] : []),
    ...(connectionsLeft < connections ? [`${connections - connectionsLeft} of ${connections} connections cut`] : []),
  ]
}

function most(name: string, ms: number | undefined, goalMs: number): readonly string[] {
  if (ms !== undefined && ms <= goalMs) return []
  return [`${name} ${ms === undefined ? 'never' : Math.round(ms)} > ${Math.round(goalMs)} ms`]
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
