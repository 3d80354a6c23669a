import { createConnection } from 'node:net'
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise'
import { ADMIN_ADDRESS, node } from '../cluster/address.js'
import { within } from './timing.js'

/** The account that the clusters have for tests, and its database. */
export const SQL_ACCOUNT: Readonly<{ user: string; password: string; database: string }> = {
  user: 'ha_test',
  password: 'ha_secret',
  database: 'ha_test',
}

const LIMIT_MS = 30_000

/** Rows as plain objects. */
export type Rows = readonly Readonly<Record<string, unknown>>[]

/** Runs statements as root on one node, one after the other, and returns the rows of the last. */
export async function adminSql(n: number, ...statements: readonly string[]): Promise<Rows> {
  const { host, port } = node('galera', n)
  const connection = await connectSql(n, { user: 'root', password: '' })
  try {
    let rows: Rows = []
    for (const sql of statements) {
      const [result] = await within(LIMIT_MS, `${host}:${port} ${sql}`, connection.query<RowDataPacket[]>(sql))
      if (Array.isArray(result)) rows = result
    }
    return rows
  } finally {
    connection.destroy()
  }
}

/** A plain connection to one node from the address that faults leave alone. */
export async function connectSql(
  n: number,
  account: { readonly user: string; readonly password: string } = SQL_ACCOUNT,
  options: { readonly multipleStatements?: boolean } = {},
): Promise<Connection> {
  const { host, port } = node('galera', n)
  const connection = await mysql.createConnection({
    ...options,
    host,
    user: account.user,
    password: account.password,
    database: SQL_ACCOUNT.database,
    connectTimeout: 5000,
    stream: () => createConnection({ host, port, localAddress: ADMIN_ADDRESS, noDelay: true }),
  })
  // A connection that is lost also rejects its calls; unheard, the event would end the process.
  connection.on('error', () => undefined)
  return connection
}
