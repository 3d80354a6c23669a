import * as cluster from '../test/cluster/index.js'
import { errorCount, type Gap, isFaultName, type RunResult, violations } from '../test/harness/index.js'
import { deliveryLimitMs, missedAmqpGoals, rowDoubts } from './amqp-goals.js'
import { AMQP_ROWS, secondsOf } from './amqp-rows.js'
import { isOurs, KIND_OF, type Service } from './catalogue.js'
import { isolatedRun } from './isolated-run.js'
import { medianGap, missedCacheGoals, missedCacheMedian } from './memcached-goals.js'
import type { RunRequest } from './one-run.js'
import { missedGoals as missedMysqlGoals } from './mysql-goals.js'
import { missedRpcGoals, newErrors } from './rpc/goals.js'
import { RPC_ROWS } from './rpc/rows.js'
import { CALL_ALLOWANCE_MS } from './rpc/scene.js'
import { callsLine, runLine } from './run-line.js'
import { table } from './table.js'

/** What the command line asks for. */
export interface FailoverPlan {
  readonly service: Service
  readonly subjects: readonly string[]
  /** Faults; for the broker and RPC, rows of their tables. */
  readonly faults: readonly string[]
  readonly runs: number
  /** How long is looked at after the fault. @default 15, or what the row takes */
  readonly seconds: number | undefined
}

/** What one run of a client showed, with the client's name on the command line. */
export interface ClientRun extends RunResult {
  readonly service: Service
  readonly client: string
  /** The fault, or the row of the table that it belongs to. */
  readonly row: string
}

/** Outcome of all runs, and what is wrong with it. */
export interface FailoverReport {
  readonly results: readonly ClientRun[]
  readonly problems: readonly string[]
}

/** A broken cache node is healed while the load goes on: that is when stale values show. */
const CACHE_HEAL_AFTER_MS = 8000
const DEFAULT_SECONDS = 15

/** So many workers share the keys; one alone waits for each of its own answers, and for those of a broken node. */
const CACHE_WORKERS = [16, 1]

/** What the runs of one line of the table have in common. */
interface Line {
  /** A fault, or a row of the broker's table. */
  readonly fault: string
  readonly subject: string
  /** As the scene has them unless given. */
  readonly workers: number | undefined
}

/** Measures every client with every fault. */
export async function failover(plan: FailoverPlan, progress: (line: string) => void): Promise<FailoverReport> {
  const results: ClientRun[] = []
  const problems: string[] = []
  const workerCounts = plan.service === 'memcached' ? CACHE_WORKERS : [undefined]
  for (const fault of plan.faults) {
    for (const subject of plan.subjects) {
      for (const workers of workerCounts) {
        const of = await runsOf({ fault, subject, workers }, plan, progress)
        results.push(...of.results)
        problems.push(...of.problems, ...middleProblems(of.results))
      }
    }
  }
  return { results, problems }
}

async function runsOf(line: Line, plan: FailoverPlan, progress: (line: string) => void): Promise<FailoverReport> {
  const { fault, subject, workers } = line
  const kind = KIND_OF[plan.service]
  const results: ClientRun[] = []
  const problems: string[] = []
  const many = workers === undefined ? '' : ` with ${workers} worker${workers === 1 ? '' : 's'}`
  for (let number = 1; number <= plan.runs; number += 1) {
    progress(`${plan.service} ${subject} ${fault}${many} run ${number} of ${plan.runs}`)
    const release = await cluster.claim([kind], { progress })
    try {
      await cluster.up([kind])
      const request = await requestOf(plan, fault)
      const scene = workers === undefined ? request.scene : { workers }
      const run = await isolatedRun({ service: plan.service, subject, ...request, ...(scene && { scene }) })
      const result = { ...run, service: plan.service, client: subject, row: fault }
      results.push(result)
      const found = problemsOf(result)
      if (plan.service === 'amqp') progress(`  ${runLine(result)}`)
      else if (plan.service === 'rpc') progress(`  ${callsLine(result)}`)
      for (const problem of found) progress(`  ${problem}`)
      problems.push(...found)
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      progress(`  no result: ${text}`)
      problems.push(`${subject} ${fault}: no result: ${text}`)
      // What the run has left broken must not stay so; if that fails, the next run says why.
      await cluster.up([kind]).catch(() => undefined)
    } finally {
      release()
    }
  }
  return { results, problems }
}

/** What a fault, or a row, is for one run. */
async function requestOf(
  { service, seconds }: FailoverPlan,
  name: string,
): Promise<Pick<RunRequest, 'fault' | 'scene' | 'options'>> {
  if (service === 'amqp') {
    const row = AMQP_ROWS[name]
    if (row === undefined) throw new Error(`there is no row '${name}'`)
    const settings = (await cluster.status(['rabbit']))[0]?.settings
    const { fault, scene = {}, healAfterMs } = row
    const heal = healAfterMs === undefined ? {} : { healAfterMs }
    return {
      fault,
      scene,
      options: { seconds: secondsOf(row, settings?.netTicktimeSeconds ?? 0, seconds), ...heal },
    }
  }
  if (service === 'rpc') {
    const row = RPC_ROWS[name]
    if (row === undefined) throw new Error(`there is no row '${name}'`)
    const options = { seconds: seconds ?? row.seconds, settleMs: CALL_ALLOWANCE_MS + 500 }
    return { fault: row.fault, scene: row.scene ?? {}, options }
  }
  if (!isFaultName(name)) throw new Error(`there is no fault '${name}'`)
  const looked = seconds ?? DEFAULT_SECONDS
  const heal = service === 'memcached' ? { healAfterMs: Math.min(CACHE_HEAL_AFTER_MS, looked * 500) } : {}
  return { fault: name, options: { seconds: looked, ...heal } }
}

/** The goals that a run has missed, in words; undefined when there is none for it. */
function missedGoals(run: ClientRun): readonly string[] | undefined {
  return MISSED_GOALS[run.service](run)
}

const MISSED_GOALS: Readonly<Record<Service, (run: ClientRun) => readonly string[] | undefined>> = {
  mysql: missedMysqlGoals,
  amqp: missedAmqpGoals,
  memcached: missedCacheGoals,
  rpc: missedRpcGoals,
}

/** Goals that no single run can miss. */
function middleProblems(runs: readonly ClientRun[]): readonly string[] {
  const [run] = runs
  if (run?.kind !== 'memcached') return []
  return missedCacheMedian(runs).map(
    (words) => `${run.subject} ${run.row}, ${run.main.workers} workers: goal missed: ${words}`,
  )
}

function problemsOf(result: ClientRun): readonly string[] {
  const where = `${result.subject} ${result.row}`
  const unproved = result.service === 'amqp' ? rowDoubts(result) : []
  const doubts =
    result.evidence.hasBitten && unproved.length === 0
      ? []
      : [`${where}: the fault has not bitten: ${[...unproved, ...result.evidence.notes].join('; ')}`]
  if (!isOurs(result.client)) return doubts
  const missed = missedGoals(result) ?? []
  // The goals of the broker's client are about these as well; calls may have another side that is not ours.
  const broken = result.service === 'rpc' ? [] : violations(result).filter((words) => !missed.includes(words))
  const { examples } = result.findings
  return [
    ...doubts,
    ...(broken.length === 0 ? [] : [`${where}: ${broken.join(', ')}: ${examples.join('; ')}`]),
    ...(missed.length === 0 ? [] : [`${where}: goal missed: ${[...missed, ...examples].join(', ')}`]),
  ]
}

/** One line per client and fault: the worst of its runs in every column. */
export function failoverTable(results: readonly ClientRun[], plan: FailoverPlan): string {
  const settings = Object.entries(results[0]?.cluster ?? {}).map(([name, value]) => `${name} ${value}`)
  const runs = `${plan.runs} run${plan.runs === 1 ? '' : 's'}`
  const title = [
    `${plan.service} failover`,
    ...(plan.service === 'memcached' ? [] : [`${results[0]?.main.workers ?? 0} workers`]),
    `worst of ${runs}`,
    `${[...new Set(results.map(({ seconds }) => seconds))].join(', ')} s after the fault`,
    ...settings,
  ]
  const groups = new Map<string, ClientRun[]>()
  for (const result of results) {
    const key = `${result.row} ${result.client} ${result.main.workers}`
    groups.set(key, [...(groups.get(key) ?? []), result])
  }
  return `${title.join(', ')}\n\n${table(
    COLUMNS[plan.service].map(([name]) => name),
    [...groups.values()].map((group) => COLUMNS[plan.service].map(([, cell]) => cell(group))),
  )}`
}

type Column = readonly [title: string, cell: (runs: readonly ClientRun[]) => string]

const most = (title: string, value: (run: ClientRun) => number): Column => [
  title,
  (runs) => String(Math.round(Math.max(...runs.map(value)))),
]
const gapOf = (title: string, gap: (run: RunResult) => Gap | undefined): Column => [
  title,
  (runs) => {
    const gaps = runs.flatMap((run) => gap(run) ?? [])
    if (gaps.length === 0) return '-'
    return gaps.every(({ hasRecovered }) => hasRecovered)
      ? String(Math.round(Math.max(...gaps.map(({ ms }) => ms))))
      : 'never'
  },
]
const least = (title: string, value: (run: RunResult) => number): Column => [
  title,
  (runs) => String(Math.round(Math.min(...runs.map(value)))),
]

const FIRST: readonly Column[] = [
  ['fault', ([run]) => run?.row ?? ''],
  ['client', ([run]) => run?.subject ?? ''],
]
const COMMON: readonly Column[] = [
  gapOf('gap ms', ({ main }) => main.gap),
  // Of the run with the longest gap: each run has its own pause of the servers.
  ['limit ms', (runs) => String(Math.round(worst(runs).limitMs))],
  ['over limit', (runs) => String(Math.round(Math.max(...runs.map(({ main, limitMs }) => main.gap.ms - limitMs))))],
  most('errors', ({ main }) => errorCount(main)),
  most('unsettled', ({ main }) => main.unsettled),
  most('lost', ({ findings }) => findings.lost),
]
const LAST: readonly Column[] = [
  most('unhandled', ({ unhandled }) => unhandled.length),
  ['p50 ms', (runs) => Math.max(...runs.map(({ main }) => main.latency.p50Ms)).toFixed(1)],
  least('per second', ({ main }) => main.ratePerSecond),
  ['bitten', (runs) => (runs.every(({ evidence }) => evidence.hasBitten) ? 'yes' : 'NO')],
]
const note = (title: string, name: string): Column => most(title, ({ findings }) => findings.notes[name] ?? 0)
/** For clients that read back what they wrote. */
const readBack = (title: string, value: (run: RunResult) => number): Column => [
  title,
  (runs) => (runs.every(({ sides }) => sides['read back'] === undefined) ? '-' : most(title, value)[1](runs)),
]

const COLUMNS: Readonly<Record<Service, readonly Column[]>> = {
  mysql: [
    ...FIRST,
    ...COMMON,
    most('twice', ({ findings }) => findings.twice),
    readBack('stale', ({ findings }) => findings.stale),
    // How many reads had a change of the writer between them and what they read.
    readBack('elsewhere', ({ findings }) => findings.notes['readBackElsewhere'] ?? 0),
    ['moved ms', (runs) => moved(runs)],
    gapOf('read gap', ({ sides }) => sides['reads']?.gap),
    most('read errors', ({ sides }) => (sides['reads'] === undefined ? 0 : errorCount(sides['reads']))),
    ...LAST,
    ['goal', goalCell],
  ],
  amqp: [
    ...FIRST,
    ...COMMON,
    most('twice', ({ findings }) => findings.twice),
    gapOf('delivery gap', ({ series }) => series['deliveries']),
    most('its limit', deliveryLimitMs),
    gapOf('slower consumer', slowerConsumer),
    ['left ms', (runs) => left(runs)],
    note('duplicates', 'duplicates'),
    note('not consumed', 'notConsumed'),
    ...LAST,
    ['goal', goalCell],
  ],
  memcached: [
    ...FIRST,
    ['workers', ([run]) => String(run?.main.workers ?? '')],
    ['median fault gap', (runs) => medianGap(runs).toFixed(1)],
    gapOf('worst', ({ main }) => main.faultGap),
    // In the 2 s before the fault, and anywhere after it: a full processor makes pauses of its own.
    most('before it', ({ main }) => main.calmGapMs),
    ['median gap', (runs) => medianGap(runs, 'gap').toFixed(1)],
    ...COMMON,
    most('stale', ({ findings }) => findings.stale),
    most('wrong', ({ findings }) => findings.wrong),
    note('misses', 'misses'),
    most('moved', ({ findings }) => findings.moved),
    note('share', 'share'),
    note('inherited', 'inherited'),
    // Gaps below the longest time that the client's process could not run at all mean nothing.
    most('loop delay', ({ loopDelayMs }) => loopDelayMs),
    ...LAST,
    ['goal', goalCell],
  ],
  rpc: [
    ...FIRST,
    gapOf('gap ms', ({ main }) => main.gap),
    gapOf('new calls gap', ({ sides }) => sides['new calls']?.gap),
    ['limit ms', (runs) => String(Math.round(Math.max(...runs.map(({ limitMs }) => limitMs))))],
    most('failed', ({ main }) => errorCount(main)),
    note('in flight', 'inFlight'),
    note('failed later', 'failedLater'),
    most('failed new', newErrors),
    ['kinds', (runs) => kinds(runs)],
    most('unsettled', ({ main, sides }) => main.unsettled + (sides['new calls']?.unsettled ?? 0)),
    most('lost', ({ findings }) => findings.lost),
    most('twice', ({ findings }) => findings.twice),
    ['moved ms', (runs) => moved(runs)],
    ...LAST,
    ['goal', goalCell],
  ],
}

/** Every kind of failure of the callers, with the number of times it came in the run with most of it. */
function kinds(runs: readonly ClientRun[]): string {
  const all = new Map<string, number>()
  for (const [kind, count] of runs.flatMap(({ main }) => Object.entries(main.errors))) {
    all.set(kind, Math.max(count, all.get(kind) ?? 0))
  }
  return all.size === 0 ? '-' : [...all].map(([kind, count]) => `${count} ${kind}`).join('; ')
}

function worst(runs: readonly RunResult[]): RunResult {
  return runs.reduce((a, b) => (b.main.gap.ms > a.main.gap.ms ? b : a))
}

/** Of two processes that consume, the one that was without messages for longer. */
function slowerConsumer({ series }: RunResult): Gap | undefined {
  const gaps = Object.entries(series).flatMap(([name, gap]) => (name.startsWith('consumer') ? [gap] : []))
  return gaps.find(({ hasRecovered }) => !hasRecovered) ?? gaps.toSorted((a, b) => b.ms - a.ms)[0]
}

/** When the last of the runs has given up every connection to the node, counted from the fault. */
function left(runs: readonly RunResult[]): string {
  const times = runs.map(({ findings }) => findings.notes['leftMs'])
  return times.includes(undefined) ? 'never' : String(Math.round(Math.max(...times.map((ms) => ms ?? 0))))
}

/** For clients that report it: when the last of the runs has left the node, counted from the fault. */
function moved(runs: readonly RunResult[]): string {
  const known = runs.flatMap(({ movedMs }) => movedMs ?? [])
  return known.length < runs.length ? '-' : String(Math.round(Math.max(...known)))
}

function goalCell(runs: readonly ClientRun[]): string {
  const missed = runs.map(missedGoals)
  if (missed.includes(undefined)) return '-'
  const count = missed.filter((words) => words !== undefined && words.length > 0).length
  if (count > 0) return `MISSED by ${count}`
  return middleProblems(runs).length === 0 ? 'reached' : 'MISSED by the median'
}
