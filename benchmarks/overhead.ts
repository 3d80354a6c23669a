import { randomUUID } from 'node:crypto'
import mysql from 'mysql2/promise'
import { createPool } from '../src/mysql/index.js'
import { nodes } from '../test/cluster/index.js'
import { adminSql, SQL_ACCOUNT } from '../test/harness/index.js'
import { type Comparison, compareInTurns } from './in-turns.js'
import { table } from './table.js'

/** How much is measured. */
export interface OverheadPlan {
  /** Pairs of rounds for each line of the table. */
  readonly pairs: number
  readonly roundMs: number
}

/** One line of the table. */
export interface OverheadResult extends Comparison {
  readonly statement: string
  readonly inFlight: number
}

/** Ours may cost so much of the speed of the driver below it. */
export const OVERHEAD_GOAL = 0.95

const IN_FLIGHT = [1, 16, 64]
const CONNECTIONS = 64
const ROWS = 1000

/** `pool.query` of this package against the pool of mysql2 on the same host with the same session settings. */
export async function mysqlOverhead(
  { pairs, roundMs }: OverheadPlan,
  progress: (line: string) => void,
): Promise<readonly OverheadResult[]> {
  const [writer] = nodes('galera')
  if (writer === undefined) throw new Error('no node')
  const { host, port, n } = writer
  const name = `overhead_${randomUUID().slice(0, 8)}`
  const { database } = SQL_ACCOUNT
  const values = Array.from({ length: ROWS }, (_, id) => `(${id}, 'value ${id}')`).join()
  await adminSql(
    n,
    `CREATE TABLE ${database}.${name} (id INT PRIMARY KEY, v VARCHAR(40) NOT NULL) ENGINE=InnoDB`,
    `INSERT INTO ${database}.${name} VALUES ${values}`,
  )
  const ours = createPool({ env: {}, hosts: [`${host}:${port}`], ...SQL_ACCOUNT, connectionLimit: CONNECTIONS })
  const plain = mysql.createPool({ host, port, ...SQL_ACCOUNT, connectionLimit: CONNECTIONS })
  plain.on('connection', (connection) => {
    void connection.query(`SET SESSION autocommit = 1, SESSION sql_mode = 'TRADITIONAL'`)
  })
  try {
    await ours.ready()
    const byKey = `SELECT v FROM ${name} WHERE id = ?`
    const statements = {
      'SELECT 1': (pool: Queryable) => pool.query('SELECT 1'),
      'by primary key': (pool: Queryable) => pool.query(byKey, [Math.floor(Math.random() * ROWS)]),
    }
    const results: OverheadResult[] = []
    for (const [statement, run] of Object.entries(statements)) {
      for (const inFlight of IN_FLIGHT) {
        progress(`${statement}, ${inFlight} in flight`)
        const turns = { inFlight, pairs, roundMs }
        const comparison = await compareInTurns({ operate: () => run(ours) }, { operate: () => run(plain) }, turns)
        results.push({ statement, inFlight, ...comparison })
      }
    }
    return results
  } finally {
    await ours.close()
    await plain.end()
    await adminSql(n, `DROP TABLE ${database}.${name}`)
  }
}

interface Queryable {
  query(sql: string, values?: number[]): Promise<unknown>
}

export function overheadTable(results: readonly OverheadResult[], { pairs, roundMs }: OverheadPlan): string {
  const header = ['statement', 'in flight', 'ours / plain', 'quartiles', 'by cpu', 'ours per s', 'plain per s', 'ours us', 'plain us', 'goal'] // prettier-ignore
  const rows = results.map(({ statement, inFlight, ratio, cpuRatio, first, second }) => [
    statement,
    String(inFlight),
    ratio.median.toFixed(3),
    `${ratio.low.toFixed(3)}-${ratio.high.toFixed(3)}`,
    cpuRatio.median.toFixed(3),
    String(Math.round(first.perSecond)),
    String(Math.round(second.perSecond)),
    first.cpuMicroseconds.toFixed(1),
    second.cpuMicroseconds.toFixed(1),
    ratio.median >= OVERHEAD_GOAL ? 'reached' : 'MISSED',
  ])
  const how = `median of ${pairs} pairs of rounds in turn, about ${roundMs} ms each; us and by cpu: processor time per operation`
  return `mysql overhead, pool.query against a plain mysql2 pool on one host, ${how}; goal: >= ${OVERHEAD_GOAL}\n\n${table(header, rows)}`
}
