/** One of the processes that transfer at the same time: workers that go on until their parent says stop, or is gone. */
import { codeOf, inWords, watchUnhandled, within, Workload } from '../../test/harness/index.js'
import { type ClientName, CLIENTS, type TransferPlace } from './clients.js'
import { randomTransfer, ROWS } from './transfer.js'

/** What the parent asks for, as the only argument. */
export interface TransferRequest {
  readonly client: ClientName
  readonly place: TransferPlace
  readonly table: string
  readonly workers: number
  /** How long work that is under way at the end may take. */
  readonly settleMs: number
}

/** What the parent says. */
export type Order = 'start' | 'progress' | 'pause' | 'stop'

/** What the parent is told, one message for each order, and one when the client is open. */
export type Answer =
  | { readonly about: 'open' | 'start' | 'pause' }
  | { readonly about: 'progress'; readonly host: string | undefined; readonly committed: number }
  | { readonly about: 'stop'; readonly report: TransferReport }

/** How it went. Times are milliseconds since 1970: processes compare them. */
export interface TransferReport {
  /** When each transfer was acknowledged, ascending, and which of `hosts` has committed it. */
  readonly times: readonly number[]
  readonly hostOf: readonly number[]
  readonly hosts: readonly string[]
  /** What acknowledged transfers have added to each row; the first is row 1. */
  readonly deltas: readonly number[]
  /** Deadlocks and their kin: nothing has happened, and the caller is told to do it again. */
  readonly deadlocks: number
  /** Other errors, by their code: what happened is not known. */
  readonly errors: Readonly<Record<string, number>>
  readonly firstErrors: readonly string[]
  readonly unsettled: number
  readonly unhandled: readonly string[]
  readonly verdicts: Readonly<Record<string, number>>
}

/** A deadlock, a certification failure that is seen at COMMIT, a lock that was waited for too long. */
const DEADLOCKS = ['ER_LOCK_DEADLOCK', 'ER_ERROR_DURING_COMMIT', 'ER_LOCK_WAIT_TIMEOUT']
const CLOSE_LIMIT_MS = 3000

// A parent that is gone, however it went, leaves nobody behind.
process.on('disconnect', () => process.exit(1))

const { client: name, place, table, workers, settleMs } = JSON.parse(process.argv[2] ?? 'null') as TransferRequest
const unhandled = watchUnhandled()
const client = CLIENTS[name](place)
const times: number[] = []
const hostOf: number[] = []
const hosts: string[] = []
const deltas = Array.from({ length: ROWS }, () => 0)

const loads: Workload[] = []

async function operate(): Promise<void> {
  const transfer = randomTransfer()
  const host = await client.transfer(table, transfer)
  times.push(Date.now())
  if (!hosts.includes(host)) hosts.push(host)
  hostOf.push(hosts.indexOf(host))
  add(transfer.from, -transfer.amount)
  add(transfer.to, transfer.amount)
}

const ORDERS: Readonly<Record<Order, () => Promise<void>>> = {
  start: () => {
    loads.push(new Workload({ workers, operate }).start())
    return tell({ about: 'start' })
  },
  progress: () => tell({ about: 'progress', host: hosts[hostOf.at(-1) ?? -1], committed: times.length }),
  pause: async () => {
    await loads.at(-1)?.finish(settleMs)
    await tell({ about: 'pause' })
  },
  stop: async () => {
    await loads.at(-1)?.finish(settleMs)
    await tell({ about: 'stop', report: report() })
    await within(CLOSE_LIMIT_MS, 'closing', client.close()).catch(() => undefined)
    process.exit(0)
  },
}

process.on('message', (order: Order) => void ORDERS[order]())
await client.open()
await tell({ about: 'open' })

function add(row: number, amount: number): void {
  deltas[row - 1] = (deltas[row - 1] ?? 0) + amount
}

function report(): TransferReport {
  const recorders = loads.map(({ recorder }) => recorder)
  const isDeadlock = (code: string): boolean => DEADLOCKS.includes(code)
  const errors: Record<string, number> = {}
  let deadlocks = 0
  for (const [code, count] of recorders.flatMap((recorder) => [...recorder.errors])) {
    if (isDeadlock(code)) deadlocks += count
    else errors[code] = (errors[code] ?? 0) + count
  }
  const first = recorders.flatMap(({ firstErrors }) => firstErrors).map(({ error }) => error)
  return {
    times,
    hostOf,
    hosts,
    deltas,
    deadlocks,
    errors,
    firstErrors: first.filter((error) => !isDeadlock(codeOf(error))).map(inWords),
    unsettled: recorders.reduce((sum, { unsettled }) => sum + unsettled, 0),
    unhandled: unhandled.errors.map(inWords),
    verdicts: client.verdicts?.() ?? {},
  }
}

function tell(answer: Answer): Promise<void> {
  return new Promise((resolve) => {
    process.send?.(answer, () => resolve())
  })
}
