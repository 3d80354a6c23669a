import { up } from '../../test/cluster/index.js'
import { percentile } from '../../test/harness/index.js'
import { table } from '../table.js'
import { type ClientName, CLIENTS } from './clients.js'
import { PEER, type TransferRate, transferRates } from './rates.js'
import { PROCESSES, type TransferFault, type TransferResult, transferRun, WORKERS } from './run.js'

/** What the command line asks for. */
export interface ForUpdatePlan {
  readonly clients: readonly ClientName[]
  readonly faults: readonly TransferFault[]
  readonly runs: number
  readonly seconds: number
  /** Turns in which the rates are compared; none with 0. */
  readonly turns: number
}

/** Outcome of all runs, and what is wrong with it. */
export interface ForUpdateReport {
  readonly results: readonly TransferResult[]
  readonly rates: readonly TransferRate[]
  readonly problems: readonly string[]
}

/** Committed work per second before the fault, compared with mysql2 in order. */
const RATE_GOALS: Readonly<Partial<Record<ClientName, number>>> = { 'ours-transaction': 1, 'ours-exactly-once': 0.8 }
const SPREAD_GOAL_MS = 1000
/** Without the commit fence, the answer to a COMMIT may be lost with the writer, and that is said. */
const MAY_SAY: Readonly<Partial<Record<ClientName, readonly string[]>>> = { 'ours-transaction': ['HA_OUTCOME_UNKNOWN'] }

/** Names that a list stands for; `ours` and `none` leave ours, and no list means everything. */
export function transferClients(list: string | undefined): readonly ClientName[] {
  const all = Object.keys(CLIENTS) as ClientName[]
  if (list === undefined) return all
  const words = new Set(list.split(','))
  const isOursMeant = words.delete('ours') || words.delete('none')
  const chosen = all.filter((name) => words.delete(name) || (isOursMeant && name.startsWith('ours')))
  if (words.size > 0) throw new Error(`'${[...words].join()}' is none of ${all.join(', ')}, ours, none`)
  return chosen
}

/** Transfers with SELECT ... FOR UPDATE in several processes at once, while the writer is lost in the middle. */
export async function forUpdate(plan: ForUpdatePlan, progress: (line: string) => void): Promise<ForUpdateReport> {
  const results: TransferResult[] = []
  const problems: string[] = []
  for (const fault of plan.faults) {
    for (let run = 1; run <= plan.runs; run += 1) {
      // The clients in turn, so that each is compared with others of about the same time.
      for (const client of plan.clients) {
        progress(`for-update ${fault}, run ${run} of ${plan.runs}, ${client}`)
        try {
          await up(['galera'])
          const result = await transferRun({ client, fault, seconds: plan.seconds })
          results.push(result)
          problems.push(...problemsOf(result))
        } catch (error) {
          problems.push(`${client} ${fault}: no result: ${error instanceof Error ? error.message : String(error)}`)
          await up(['galera']).catch(() => undefined)
        }
      }
    }
  }
  if (plan.turns > 0) progress(`for-update without fault, ${plan.turns} turns`)
  const rates = plan.turns > 0 ? await transferRates(plan.turns) : []
  return { results, rates, problems: [...problems, ...slow(rates)] }
}

function problemsOf(result: TransferResult): readonly string[] {
  const { client, fault, deadlocks, unsettled, unhandled, wrongRows = 0, spreadMs, gap } = result
  const where = `${client} ${fault}`
  const doubts = result.hasBitten ? [] : [`${where}: the fault has not bitten`]
  if (!client.startsWith('ours')) return doubts
  const surfaced = Object.keys(result.errors).filter((code) => MAY_SAY[client]?.includes(code) !== true)
  const broken = [
    ...(result.isSumRight ? [] : ['the sum is wrong']),
    ...(wrongRows > 0 ? [`${wrongRows} balances are wrong`] : []),
    ...(deadlocks > 0 ? [`${deadlocks} deadlocks reached a caller`] : []),
    ...(surfaced.length > 0 ? [`${surfaced.join(', ')} reached a caller (${result.firstErrors.join('; ')})`] : []),
    ...(unsettled > 0 ? [`${unsettled} unsettled`] : []),
    ...(unhandled.length > 0 ? [`unhandled: ${unhandled.join('; ')}`] : []),
    ...(gap.hasRecovered ? [] : ['a process never recovered']),
    ...(fault === 'kill' && !((spreadMs ?? Infinity) <= SPREAD_GOAL_MS)
      ? [`not on one writer within 1 s: ${result.hostsAtLast.join(', ')}, ${spreadMs ?? '-'} ms`]
      : []),
  ]
  return broken.length === 0 ? doubts : [...doubts, `${where}: ${broken.join('; ')}`]
}

function slow(rates: readonly TransferRate[]): readonly string[] {
  return rates.flatMap(({ client, alone: { median } }) => {
    const goal = RATE_GOALS[client] ?? 0
    return median >= goal ? [] : [`${client}: ${median.toFixed(2)} x the rate of ${PEER}, not ${goal}`]
  })
}

/** Committed work per second, one line per client. */
export function ratesTable(rates: readonly TransferRate[], { turns }: ForUpdatePlan): string {
  const title = `Committed work per second without fault, the middle one of ${turns} turns`
  const header = ['client', 'per second', PEER, 'ratio', 'quartiles', 'at the same time', 'quartiles', 'goal']
  const rows = rates.map(({ client, perSecond, peerPerSecond, alone, together }) => [
    client,
    String(Math.round(perSecond)),
    String(Math.round(peerPerSecond)),
    alone.median.toFixed(2),
    `${alone.low.toFixed(2)}-${alone.high.toFixed(2)}`,
    together.median.toFixed(2),
    `${together.low.toFixed(2)}-${together.high.toFixed(2)}`,
    RATE_GOALS[client] === undefined ? '-' : `>= ${RATE_GOALS[client]}`,
  ])
  return `${title}\n\n${table(header, rows)}`
}

/** One line per fault and client: the worst of its runs, and the middle one of the rates before the fault. */
export function forUpdateTable(results: readonly TransferResult[], plan: ForUpdatePlan): string {
  const header = ['fault', 'client', 'per second', 'deadlocks', 'errors', 'unsettled', 'unhandled', 'sum', 'balances', 'gap ms', 'nodes', 'nodes after', 'spread ms', 'verdicts'] // prettier-ignore
  const rows = plan.faults.flatMap((fault) =>
    plan.clients.flatMap((client) => {
      const group = results.filter((each) => each.fault === fault && each.client === client)
      return group.length === 0 ? [] : [row(fault, client, group)]
    }),
  )
  const title = [
    `SELECT ... FOR UPDATE, ${PROCESSES} processes x ${WORKERS} workers on 10 rows`,
    `${plan.seconds} s before and after the fault on the writer`,
    `worst of ${plan.runs} run${plan.runs === 1 ? '' : 's'}, rates: the middle one`,
    'a blackhole is for the last process alone',
  ]
  return `${title.join(', ')}\n\n${table(header, rows)}`
}

function row(fault: TransferFault, client: ClientName, runs: readonly TransferResult[]): readonly string[] {
  const most = (count: (run: TransferResult) => number): string => String(Math.max(...runs.map(count)))
  const spreads = runs.map(({ spreadMs }) => spreadMs)
  const verdicts = new Map<string, number>()
  for (const run of runs) {
    for (const [name, n] of Object.entries(run.verdicts)) verdicts.set(name, (verdicts.get(name) ?? 0) + n)
  }
  return [
    fault,
    client,
    String(
      Math.round(
        percentile(
          runs.map((run) => run.ratePerSecond),
          0.5,
        ),
      ),
    ),
    most((run) => run.deadlocks),
    most((run) => Object.values(run.errors).reduce((sum, n) => sum + n, 0)),
    most((run) => run.unsettled),
    most((run) => run.unhandled.length),
    runs.every((run) => run.isSumRight) ? 'right' : 'WRONG',
    balances(runs.map((run) => run.wrongRows)),
    runs.every((run) => run.gap.hasRecovered) ? most((run) => Math.round(run.gap.ms)) : 'never',
    nodes(runs.map((run) => run.hostsBefore)),
    nodes(runs.map((run) => run.hostsAtLast)),
    spreads.includes(undefined) ? '-' : String(Math.max(...spreads.flatMap((ms) => ms ?? []))),
    [...verdicts].map(([name, n]) => `${name} ${n}`).join(', ') || '-',
  ]
}

function balances(wrongRows: readonly (number | undefined)[]): string {
  const known = wrongRows.flatMap((n) => n ?? [])
  if (known.some((n) => n > 0)) return 'WRONG'
  return known.length === wrongRows.length ? 'right' : 'unknown'
}

/** Of each process the number of the node, which is the last of its address. */
function nodes(runs: readonly (readonly (string | undefined)[])[]): string {
  const words = runs.map((hosts) => hosts.map((host) => host?.split(':')[0]?.split('.').at(-1) ?? '-').join(' '))
  return [...new Set(words)].join(', ')
}
