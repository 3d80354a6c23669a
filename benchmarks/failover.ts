import * as cluster from '../test/cluster/index.js'
import { errorCount, type FaultName, type Gap, type RunResult, violations } from '../test/harness/index.js'
import { isOurs, KIND_OF, type Service } from './catalogue.js'
import { isolatedRun } from './isolated-run.js'
import { medianGap, missedCacheGoals, missedCacheMedian } from './memcached-goals.js'
import { missedGoals as missedSqlGoals } from './mysql-goals.js'
import { table } from './table.js'

/** What the command line asks for. */
export interface FailoverPlan {
  readonly service: Service
  readonly subjects: readonly string[]
  readonly faults: readonly FaultName[]
  readonly runs: number
  readonly seconds: number
}

/** What one run of a client showed, with the client's name on the command line. */
export interface ClientRun extends RunResult {
  readonly client: string
}

/** Outcome of all runs, and what is wrong with it. */
export interface FailoverReport {
  readonly results: readonly ClientRun[]
  readonly problems: readonly string[]
}

/** A broken cache node is healed while the load goes on: that is when stale values show. */
const CACHE_HEAL_AFTER_MS = 8000

/** So many workers share the keys; one alone waits for each of its own answers, and for those of a broken node. */
const CACHE_WORKERS = [16, 1]

/** What the runs of one line of the table have in common. */
interface Line {
  readonly fault: FaultName
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
        problems.push(...of.problems, ...middleProblems(plan.service, of.results))
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
  for (let run = 1; run <= plan.runs; run += 1) {
    progress(`${plan.service} ${subject} ${fault}${many} run ${run} of ${plan.runs}`)
    const release = await cluster.claim([kind], { progress })
    try {
      await cluster.up([kind])
      const result = { ...(await oneRun(line, plan)), client: subject }
      results.push(result)
      const found = problemsOf(result, plan.service)
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

function oneRun({ fault, subject, workers }: Line, { service, seconds }: FailoverPlan): Promise<RunResult> {
  const healAfterMs = service === 'memcached' ? { healAfterMs: Math.min(CACHE_HEAL_AFTER_MS, seconds * 500) } : {}
  const options = { seconds, ...healAfterMs }
  return isolatedRun({ service, subject, fault, options, ...(workers === undefined ? {} : { workers }) })
}

/** Goals that a run has missed; undefined when there is none for it. */
function missedGoals(run: ClientRun, service: Service): readonly string[] | undefined {
  return service === 'mysql' ? missedSqlGoals(run) : service === 'memcached' ? missedCacheGoals(run) : undefined
}

/** Goals that no single run can miss. */
function middleProblems(service: Service, runs: readonly ClientRun[]): readonly string[] {
  const [run] = runs
  if (run === undefined || service !== 'memcached') return []
  return missedCacheMedian(runs).map((words) => `${nameOf(run)}, ${run.main.workers} workers: goal missed: ${words}`)
}

const nameOf = ({ subject, fault }: RunResult): string => `${subject} ${fault}`

function problemsOf(result: ClientRun, service: Service): readonly string[] {
  const where = nameOf(result)
  const doubts = result.evidence.hasBitten
    ? []
    : [`${where}: the fault has not bitten: ${result.evidence.notes.join('; ')}`]
  if (!isOurs(result.client)) return doubts
  const broken = violations(result)
  const missed = missedGoals(result, service) ?? []
  return [
    ...doubts,
    ...(broken.length === 0 ? [] : [`${where}: ${broken.join(', ')}: ${result.findings.examples.join('; ')}`]),
    ...(missed.length === 0 ? [] : [`${where}: goal missed: ${missed.join(', ')}`]),
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
    `${plan.seconds} s after the fault`,
    ...settings,
  ]
  const groups = new Map<string, ClientRun[]>()
  for (const result of results) {
    const key = `${result.fault} ${result.client} ${result.main.workers}`
    groups.set(key, [...(groups.get(key) ?? []), result])
  }
  return `${title.join(', ')}\n\n${table(
    COLUMNS[plan.service].map(([name]) => name),
    [...groups.values()].map((group) => COLUMNS[plan.service].map(([, cell]) => cell(group))),
  )}`
}

type Column = readonly [title: string, cell: (runs: readonly ClientRun[]) => string]

const most = (title: string, value: (run: RunResult) => number): Column => [
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
  ['fault', ([run]) => run?.fault ?? ''],
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
    ['goal', (runs) => goalCell(runs, 'mysql')],
  ],
  amqp: [
    ...FIRST,
    ...COMMON,
    most('twice', ({ findings }) => findings.twice),
    gapOf('delivery gap', ({ series }) => series['deliveries']),
    note('not consumed', 'notConsumed'),
    ...LAST,
  ],
  memcached: [
    ...FIRST,
    ['workers', ([run]) => String(run?.main.workers ?? '')],
    ['median gap', (runs) => medianGap(runs).toFixed(1)],
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
    ['goal', (runs) => goalCell(runs, 'memcached')],
  ],
}

function worst(runs: readonly RunResult[]): RunResult {
  return runs.reduce((a, b) => (b.main.gap.ms > a.main.gap.ms ? b : a))
}

/** For clients that report it: when the last of the runs has left the node, counted from the fault. */
function moved(runs: readonly RunResult[]): string {
  const known = runs.flatMap(({ movedMs }) => movedMs ?? [])
  return known.length < runs.length ? '-' : String(Math.round(Math.max(...known)))
}

function goalCell(runs: readonly ClientRun[], service: Service): string {
  const missed = runs.map((run) => missedGoals(run, service))
  if (missed.includes(undefined)) return '-'
  const count = missed.filter((words) => words !== undefined && words.length > 0).length
  if (count > 0) return `MISSED by ${count}`
  return middleProblems(service, runs).length === 0 ? 'reached' : 'MISSED by the median'
}
