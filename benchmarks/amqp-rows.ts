import type { AmqpSceneOptions, FaultName, RunOptions } from '../test/harness/index.js'
import type { FailoverPlan } from './failover.js'

/** One line of the table: a fault, and the situation in which it comes. */
export interface AmqpRow extends Pick<RunOptions, 'healAfterMs'> {
  readonly fault: FaultName
  readonly scene?: Partial<AmqpSceneOptions>
  /** How long is looked at after the fault: long enough for every client that recovers at all. */
  readonly seconds: number
  /** The fault has to last for longer than the servers' net_ticktime. */
  readonly outlastsTicktime?: boolean
}

/** Two heartbeats of 10 s, and something to see what comes later. */
const IDLE = { scene: { idleMs: 24_000 }, seconds: 28 } as const

const ROWS = {
  kill: { fault: 'kill', seconds: 10 },
  freeze: { fault: 'freeze', seconds: 20, outlastsTicktime: true },
  blackhole: { fault: 'blackhole', seconds: 20 },
  'freeze-idle': { fault: 'freeze', ...IDLE },
  'blackhole-idle': { fault: 'blackhole', ...IDLE },
  // With a connection in reserve nobody has to dial the silent host.
  'next-silent': { fault: 'kill', scene: { withSilentHost: true }, seconds: 20 },
  'next-silent-cold': { fault: 'kill', scene: { withSilentHost: true, isCold: true }, seconds: 20 },
  'two-down': { fault: 'two-down', scene: { queueType: 'classic' }, seconds: 15 },
  'all-down': { fault: 'all-down', scene: { isTotal: true }, seconds: 75, healAfterMs: 30_000 },
  alarm: { fault: 'alarm', seconds: 16, healAfterMs: 8000 },
  none: { fault: 'none', seconds: 10 },
  stop: { fault: 'stop', seconds: 10 },
  reject: { fault: 'reject', seconds: 10 },
  reset: { fault: 'reset', seconds: 10 },
  partition: { fault: 'partition', seconds: 20, outlastsTicktime: true },
} as const satisfies Record<string, AmqpRow>

/** The table of the AMQP transport, by the names of the command line. */
export const AMQP_ROWS: Readonly<Record<string, AmqpRow>> = ROWS

/** The rows that have goals. */
export const AMQP_TABLE: readonly string[] = Object.keys(ROWS).slice(0, Object.keys(ROWS).indexOf('alarm') + 1)

/** Some of a node's ticks are counted in quarters of net_ticktime: it takes up to 125 % of it. */
const TICKTIME_SHARE = 1.25

/** How long a row is looked at with these servers. */
export function secondsOf(row: AmqpRow, netTicktimeSeconds: number, given: number | undefined): number {
  const seconds = given ?? row.seconds
  return row.outlastsTicktime === true
    ? Math.max(seconds, Math.ceil(netTicktimeSeconds * TICKTIME_SHARE) + 10)
    : seconds
}

/** Start, warm-up, healing and the look at what was delivered come on top of the time after the fault. */
const OVERHEAD_SECONDS = 22
/** What the clusters of tests have. */
const TICKTIME_SECONDS = 8

/** How long a plan takes, about. */
export function estimatedMinutes(
  { faults, subjects, runs, seconds }: FailoverPlan,
  netTicktimeSeconds: number = TICKTIME_SECONDS,
): number {
  const each = faults
    .flatMap((name) => AMQP_ROWS[name] ?? [])
    .map((row) => secondsOf(row, netTicktimeSeconds, seconds) + OVERHEAD_SECONDS)
  return Math.ceil((subjects.length * runs * each.reduce((sum, value) => sum + value, 0)) / 60)
}
