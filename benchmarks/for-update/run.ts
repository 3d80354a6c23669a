import { randomUUID } from 'node:crypto'
import * as cluster from '../../test/cluster/index.js'
import {
  adminSql,
  FAULTS,
  type Gap,
  hostsByAge,
  longestGap,
  probeNode,
  sleep,
  SQL_ACCOUNT,
  type Target,
  until,
  within,
} from '../../test/harness/index.js'
import { TransferChild } from './child.js'
import type { ClientName } from './clients.js'
import type { TransferReport } from './process.js'
import { BALANCE, ROWS } from './transfer.js'

/** `kill` hits the writer, `blackhole` cuts one of the processes off it. */
export type TransferFault = 'kill' | 'blackhole'

/** How one run is made. */
export interface TransferPlan {
  readonly client: ClientName
  readonly fault: TransferFault
  /** How long is looked at before the fault, and how long after it. */
  readonly seconds: number
}

/** What one run showed; can be written as JSON. */
export interface TransferResult extends TransferPlan {
  /** Of all processes together. */
  readonly committed: number
  /** Before the fault. */
  readonly ratePerSecond: number
  readonly deadlocks: number
  readonly errors: Readonly<Record<string, number>>
  readonly firstErrors: readonly string[]
  readonly unsettled: number
  readonly unhandled: readonly string[]
  readonly isSumRight: boolean
  /** Rows whose balance is not what the acknowledged transfers make it; undefined when some outcome is unknown. */
  readonly wrongRows: number | undefined
  /** The longest time in which a process has committed nothing, of the process for which that was longest. */
  readonly gap: Gap
  /** The host of each process's last commit before the fault. */
  readonly hostsBefore: readonly (string | undefined)[]
  /** The host that each process has used at last; undefined for one that has committed nothing after the fault. */
  readonly hostsAtLast: readonly (string | undefined)[]
  /** Between the first commits of the first and of the last process on the one new writer; undefined without one. */
  readonly spreadMs: number | undefined
  readonly verdicts: Readonly<Record<string, number>>
  /** False makes the run void. */
  readonly hasBitten: boolean
}

export const PROCESSES = 4
export const WORKERS = 8

const WARM_MS = 2000
const SETTLE_MS = 10_000
const FIRST_COMMIT_LIMIT_MS = 20_000
const SYMPTOM_LIMIT_MS = 5000
const HEAL_LIMIT_MS = 180_000
/** The last process is the one that a blackhole is for. */
const address = (i: number): string => `127.0.9.${21 + i}`

/** One client, one fault. The cluster must be whole, and is again afterwards. */
export async function transferRun({ client, fault, seconds }: TransferPlan): Promise<TransferResult> {
  return withTable(async (table) => {
    const children = await startChildren(client, table)
    try {
      await Promise.all(children.map((child) => child.start()))
      const n = await nodeOf(children)
      await sleep(WARM_MS + seconds * 1000)
      const target: Target = { kind: 'galera', n, ...(fault === 'blackhole' ? { from: address(PROCESSES - 1) } : {}) }
      const { at, hasBitten, reports } = await broken(target, fault, async () => {
        await sleep(seconds * 1000)
        return Promise.all(children.map((child) => child.stop()))
      })
      // What hangs in a process still holds locks.
      await killAll(children)
      await within(HEAL_LIMIT_MS, 'whole cluster', cluster.whole('galera'))
      return {
        ...{ client, fault, seconds, hasBitten: hasBitten && reports.some(({ hosts }) => hosts.includes(hostName(n))) },
        ...judge(reports, await balancesOf(table)),
        ...follow(reports, at, seconds * 1000),
      }
    } finally {
      await killAll(children)
    }
  })
}

/** A table of rows to transfer between, as long as `work` needs it. */
export async function withTable<T>(work: (table: string) => Promise<T>): Promise<T> {
  const table = `transfer_${randomUUID().slice(0, 8)}`
  const name = `${SQL_ACCOUNT.database}.${table}`
  const rows = Array.from({ length: ROWS }, (_, i) => `(${i + 1}, ${BALANCE})`).join()
  await adminSql(
    1,
    `CREATE TABLE ${name} (id INT PRIMARY KEY, balance INT NOT NULL) ENGINE=InnoDB`,
    `INSERT INTO ${name} VALUES ${rows}`,
  )
  try {
    return await work(table)
  } finally {
    await adminSql(1, 'SET SESSION lock_wait_timeout = 20', `DROP TABLE IF EXISTS ${name}`).catch(() => undefined)
  }
}

/** The processes of one client, connected. */
export async function startChildren(client: ClientName, table: string): Promise<readonly TransferChild[]> {
  const hosts = await hostsByAge()
  const children = Array.from({ length: PROCESSES }, (_, i) => {
    const place = { ...SQL_ACCOUNT, hosts, localAddress: address(i) }
    return new TransferChild({ client, place, table, workers: WORKERS, settleMs: SETTLE_MS })
  })
  try {
    await Promise.all(children.map((child) => child.opened()))
    return children
  } catch (error) {
    await killAll(children)
    throw error
  }
}

export async function killAll(children: readonly TransferChild[]): Promise<void> {
  await Promise.all(children.map((child) => child.kill()))
}

async function balancesOf(table: string): Promise<readonly number[]> {
  const sql = `SELECT balance FROM ${SQL_ACCOUNT.database}.${table} ORDER BY id`
  return (await adminSql(1, 'SET SESSION wsrep_sync_wait = 1', sql)).map(({ balance }) => Number(balance))
}

/** The node that is written to: the one that has committed a process's last transfer. */
async function nodeOf(children: readonly TransferChild[]): Promise<number> {
  let host: string | undefined
  await until('first commit', FIRST_COMMIT_LIMIT_MS, async () => (host = await children[0]?.where()) !== undefined, 100)
  const found = cluster.nodes('galera').find(({ n }) => hostName(n) === host)
  if (found === undefined) throw new Error(`'${String(host)}' is no node`)
  return found.n
}

/** Does `work` while the fault lasts. */
async function broken(
  target: Target,
  name: TransferFault,
  work: () => Promise<readonly TransferReport[]>,
): Promise<{ readonly at: number; readonly hasBitten: boolean; readonly reports: readonly TransferReport[] }> {
  const fault = FAULTS[name]
  const at = Date.now()
  try {
    await fault.inject(target)
    const shows = async (): Promise<boolean> => (await probeNode('galera', target.n, target.from)) === fault.symptom
    const hasBitten = await until(`symptom of ${name}`, SYMPTOM_LIMIT_MS, shows).then(
      () => true,
      () => false,
    )
    const reports = await work()
    return { at, hasBitten: hasBitten && (await shows()), reports }
  } finally {
    await within(HEAL_LIMIT_MS, 'healing', fault.heal(target))
  }
}

/** What callers were told, against what the servers have. */
function judge(reports: readonly TransferReport[], balances: readonly number[]) {
  const total = (count: (report: TransferReport) => number): number =>
    reports.reduce((sum, report) => sum + count(report), 0)
  const errors = summed(reports.map((report) => report.errors))
  const unsettled = total((report) => report.unsettled)
  const isAllKnown = unsettled === 0 && Object.keys(errors).length === 0
  const expected = balances.map((_, row) => BALANCE + total(({ deltas }) => deltas[row] ?? 0))
  return {
    committed: total(({ times }) => times.length),
    deadlocks: total(({ deadlocks }) => deadlocks),
    errors,
    firstErrors: reports.flatMap(({ firstErrors }) => firstErrors).slice(0, 5),
    unsettled,
    unhandled: reports.flatMap(({ unhandled }) => unhandled),
    isSumRight: balances.length === ROWS && balances.reduce((sum, each) => sum + each, 0) === ROWS * BALANCE,
    wrongRows: isAllKnown ? balances.filter((balance, row) => balance !== expected[row]).length : undefined,
    verdicts: summed(reports.map(({ verdicts }) => verdicts)),
  }
}

/** Who has written where, and when. */
function follow(reports: readonly TransferReport[], at: number, windowMs: number) {
  const before = reports.flatMap(({ times }) => times.filter((time) => time >= at - windowMs && time < at))
  const window = { from: at, to: at + windowMs }
  const gaps = reports.map(({ times }) => longestGap(times, window))
  const lasts = reports.map(({ times, hostOf, hosts }) => {
    const last = hostOf.at(-1)
    if (last === undefined || (times.at(-1) ?? 0) < at) return undefined
    return { host: hosts[last], since: times[times.findIndex((time, i) => time >= at && hostOf[i] === last)] ?? NaN }
  })
  const sinces = lasts.flatMap((last) => last?.since ?? [])
  const isOne = sinces.length === PROCESSES && new Set(lasts.map((last) => last?.host)).size === 1
  return {
    ratePerSecond: (1000 * before.length) / windowMs,
    gap: gaps.reduce((a, b) => (!b.hasRecovered || (a.hasRecovered && b.ms > a.ms) ? b : a)),
    hostsBefore: reports.map(({ times, hostOf, hosts }) => hosts[hostOf[times.findLastIndex((t) => t < at)] ?? -1]),
    hostsAtLast: lasts.map((last) => last?.host),
    spreadMs: isOne ? Math.max(...sinces) - Math.min(...sinces) : undefined,
  }
}

function summed(parts: readonly Readonly<Record<string, number>>[]): Readonly<Record<string, number>> {
  const sums: Record<string, number> = {}
  for (const part of parts) for (const [name, count] of Object.entries(part)) sums[name] = (sums[name] ?? 0) + count
  return sums
}

function hostName(n: number): string {
  const { host, port } = cluster.node('galera', n)
  return `${host}:${port}`
}
