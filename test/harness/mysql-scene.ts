import { randomUUID } from 'node:crypto'
import { nodes } from '../cluster/index.js'
import { closeAll } from './closing.js'
import { hostsByAge } from './hosts-by-age.js'
import { nextNode, nodeInUse } from './in-use.js'
import { adminSql, connectSql, SQL_ACCOUNT } from './mysql-admin.js'
import { READ_BACK_COLUMNS, ReadBack } from './read-back.js'
import type { Recorder } from './recorder.js'
import type { Findings, Oracle, Scene, SideLoad } from './scene.js'
import type { SqlSubject } from './subject.js'
import { sleep, within } from './timing.js'
import type { Load } from './workload.js'

const ORACLE_PAUSE_MS = 2
const ORACLE_LIMIT_MS = 30_000
const WATCH_MS = 500
const READ_WORKERS = 2
const READ_PAUSE_MS = 5

/** How a client of the database is put to the test. */
export interface MysqlSceneOptions {
  /** @default 16 */
  readonly workers?: number
  readonly allowanceMs?: number
}

/**
 * One-row inserts of numbered operations, into a table that would take a number twice.
 *
 * A client that can read elsewhere has two more workers that do; one that can read where it writes has some that read
 * back what they wrote.
 */
export class MysqlScene implements Scene {
  readonly kind = 'galera'
  readonly subject: SqlSubject
  readonly main: Load
  readonly sides: readonly SideLoad[]
  readonly series: Scene['series'] = {}
  readonly #readBack: ReadBack | undefined
  readonly #table = `run_${randomUUID().replaceAll('-', '').slice(0, 12)}`

  constructor(subject: SqlSubject, options: MysqlSceneOptions = {}) {
    this.subject = subject
    const allowance = options.allowanceMs === undefined ? {} : { allowanceMs: options.allowanceMs }
    const outcomeOf = subject.outcomeOf?.bind(subject)
    this.main = {
      workers: options.workers ?? 16,
      operate: ({ id }) => subject.insert(`INSERT INTO ${this.#table} (op) VALUES (?)`, id),
      ...(outcomeOf === undefined ? {} : { outcomeOf }),
      ...allowance,
    }
    const readBack = subject.readBack?.bind(subject)
    this.#readBack = readBack === undefined ? undefined : new ReadBack(subject, readBack, `${this.#table}_back`)
    const read = subject.read?.bind(subject)
    const operate = (): Promise<void> => read?.(`SELECT MAX(n) FROM ${this.#table}`) ?? Promise.resolve()
    const reads = { name: 'reads', workers: READ_WORKERS, pauseMs: READ_PAUSE_MS, operate, ...allowance }
    this.sides = [
      ...(read === undefined ? [] : [reads]),
      ...(this.#readBack === undefined ? [] : [{ ...this.#readBack.load, ...allowance }]),
    ]
  }

  async open(): Promise<void> {
    const columns = '(n BIGINT AUTO_INCREMENT PRIMARY KEY, op VARCHAR(40) NOT NULL, KEY (op)) ENGINE=InnoDB'
    const { database } = SQL_ACCOUNT
    await adminSql(
      1,
      `CREATE TABLE ${database}.${this.#table} ${columns}`,
      `CREATE TABLE ${database}.${this.#table}_oracle ${columns}`,
      `CREATE TABLE ${database}.${this.#table}_back ${READ_BACK_COLUMNS}`,
    )
    await this.subject.open({ ...SQL_ACCOUNT, hosts: await hostsByAge() })
  }

  /** A pool may hold connections that it does not use: unless the client says whom it writes to, the nodes do. */
  async target(): Promise<number> {
    if (this.subject.inUse !== undefined) return nodeInUse('galera', this.subject)
    const before = await writeSets()
    await sleep(WATCH_MS)
    const after = await writeSets()
    const grown = after.map(({ n, count }, i) => ({ n, count: count - (before[i]?.count ?? count) }))
    return grown.reduce((a, b) => (b.count > a.count ? b : a)).n
  }

  async oracles(target: number): Promise<readonly Oracle[]> {
    const n = nextNode('galera', target)
    const connection = await connectSql(n)
    return [
      {
        name: `insert on node ${n}`,
        workers: 1,
        pauseMs: ORACLE_PAUSE_MS,
        allowanceMs: ORACLE_LIMIT_MS,
        operate: async ({ id }) => {
          await connection.query(`INSERT INTO ${this.#table}_oracle (op) VALUES (?)`, [id])
        },
        close: () => connection.destroy(),
      },
    ]
  }

  survey(): Promise<void> {
    return Promise.resolve()
  }

  async verify({ ledger }: Recorder): Promise<Findings> {
    const counts = new Map<string, number>()
    const rows = await adminSql(
      1,
      'SET SESSION wsrep_sync_wait = 1',
      `SELECT op, COUNT(*) AS times FROM ${SQL_ACCOUNT.database}.${this.#table} GROUP BY op`,
    )
    for (const { op, times } of rows) counts.set(String(op), Number(times))
    const { lost, twice, denied, unknownThere, strangers } = ledger.compare(counts)
    return {
      lost: lost.length,
      twice: twice.length,
      denied: denied.length,
      stale: this.#readBack?.stale ?? 0,
      moved: 0,
      wrong: strangers.length,
      notes: { unknownThere, readBackElsewhere: this.#readBack?.elsewhere ?? 0, ...this.subject.notes?.() },
      examples: [
        ...(this.#readBack?.examples ?? []),
        ...lost.slice(0, 3).map((id) => `lost ${id}`),
        ...twice.slice(0, 3).map((id) => `twice ${id}`),
        ...denied.slice(0, 3).map((id) => `denied ${id}`),
        ...strangers.slice(0, 3).map((id) => `never asked for ${id}`),
      ],
    }
  }

  async close(): Promise<void> {
    await closeAll([() => this.subject.close(), () => within(5000, 'drop', this.#drop())])
  }

  async #drop(): Promise<void> {
    const { database } = SQL_ACCOUNT
    const names = ['', '_oracle', '_back'].map((suffix) => `${database}.${this.#table}${suffix}`)
    await adminSql(1, `DROP TABLE IF EXISTS ${names.join()}`)
  }
}

/** How many write sets each node has sent to the others. */
function writeSets(): Promise<readonly { readonly n: number; readonly count: number }[]> {
  return Promise.all(
    nodes('galera').map(async ({ n }) => {
      const [row] = await adminSql(n, `SHOW GLOBAL STATUS LIKE 'wsrep_replicated'`)
      return { n, count: Number(row?.['Value']) }
    }),
  )
}
