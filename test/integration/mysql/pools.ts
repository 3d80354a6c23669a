import { randomUUID } from 'node:crypto'
import { createPool, type MysqlPool, type MysqlPoolOptions, type PoolConnection } from '../../../src/mysql/index.js'
import { nodes } from '../../cluster/index.js'
import { adminSql, type Rows, SQL_ACCOUNT } from '../../harness/index.js'

/** `host:port` of all nodes. */
export const HOSTS: readonly string[] = nodes('galera').map(({ host, port }) => `${host}:${port}`)

/** Faults of single clients tell them apart by this address. */
export const CLIENT_ADDRESS = '127.0.9.21'

/** A pool with short intervals that has a writer: the first fit node, however lately an earlier test has started it. */
export async function openPool(options: MysqlPoolOptions = {}): Promise<MysqlPool> {
  const intervals = { probeIntervalMs: 300, passiveProbeIntervalMs: 300, failbackDelayMs: 0 }
  const place = { env: {}, hosts: HOSTS, localAddress: CLIENT_ADDRESS, ...SQL_ACCOUNT }
  const db = createPool({ ...place, ...intervals, ...options })
  await db.ready({ timeoutMs: 30_000 })
  return db
}

/** The number of a node. */
export function numberOf(host: string | undefined): number {
  const at = HOSTS.indexOf(String(host))
  if (at < 0) throw new Error(`${String(host)} is no node`)
  return at + 1
}

/** The number of the node that a pool writes to. */
export function writerOf(db: MysqlPool): number {
  return numberOf(db.status().writer.host)
}

/** What the pool says of one node. */
export function hostOf(db: MysqlPool, n: number): ReturnType<MysqlPool['status']>['hosts'][number] {
  const found = db.status().hosts.find(({ host }) => host === HOSTS[n - 1])
  if (found === undefined) throw new Error(`the pool does not know node ${n}`)
  return found
}

/** The client's port of a connection, as its server has it. */
export async function clientPort(connection: PoolConnection): Promise<number> {
  const [[row]] = await connection.query<[{ host: string }]>(
    'SELECT HOST AS host FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()',
  )
  return Number(row.host.split(':').at(-1))
}

/** What the server's thread of a connection does; empty when there is none. */
export function threadOf(connection: PoolConnection): Promise<Rows> {
  const where = `WHERE ID = ${connection.threadId}`
  return adminSql(
    numberOf(connection.host),
    `SELECT COMMAND AS command, STATE AS state FROM information_schema.PROCESSLIST ${where}`,
  )
}

/** Makes a table of two numbers, 1: 10 and 2: 20, and returns its name. */
export async function makeTable(): Promise<string> {
  const table = `${SQL_ACCOUNT.database}.states_${randomUUID().replaceAll('-', '').slice(0, 12)}`
  await adminSql(
    1,
    `CREATE TABLE ${table} (id INT PRIMARY KEY, n INT NOT NULL)`,
    `INSERT INTO ${table} VALUES (1, 10), (2, 20)`,
  )
  return table
}

/** The number under `id`, as the whole cluster has it. */
export async function numberIn(table: string, id: number, n = 1): Promise<number> {
  const [row] = await adminSql(n, 'SET SESSION wsrep_sync_wait = 1', `SELECT n FROM ${table} WHERE id = ${id}`)
  return Number(row?.['n'])
}
