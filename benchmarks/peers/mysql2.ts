import mysql, { type Pool, type PoolCluster, type PoolConnection, type PoolOptions } from 'mysql2'
import type { SqlPlace, SqlSubject } from '../../test/harness/index.js'

const CONNECTIONS = 16
const CONNECT_TIMEOUT_MS = 2000

/** mysql2 PoolCluster: ORDER, canRetry, a node is removed after one error. */
export class Mysql2Cluster implements SqlSubject {
  readonly name: string = 'mysql2 PoolCluster'
  #cluster: PoolCluster | undefined

  open({ hosts, ...account }: SqlPlace): Promise<void> {
    const cluster = mysql.createPoolCluster({ canRetry: true, removeNodeErrorCount: 1, defaultSelector: 'ORDER' })
    for (const [i, name] of hosts.entries()) cluster.add(`node${i + 1}`, poolOptions(name, account))
    this.#cluster = cluster
    return Promise.resolve()
  }

  insert(sql: string, id: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#cluster?.getConnection('*', 'ORDER', (dialError, connection) => {
        if (dialError) reject(dialError)
        else run(connection, sql, id, resolve, reject)
      })
    })
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#cluster?.end(() => resolve())
    })
  }
}

/** A plain mysql2 pool to one address. */
export class Mysql2Pool implements SqlSubject {
  readonly name: string = 'mysql2 pool'
  #pool: Pool | undefined

  open({ hosts, ...account }: SqlPlace): Promise<void> {
    const [first] = hosts
    if (first === undefined) throw new Error('no host')
    this.#pool = mysql.createPool(poolOptions(first, account))
    return Promise.resolve()
  }

  insert(sql: string, id: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pool?.getConnection((dialError, connection) => {
        if (dialError) reject(dialError)
        else run(connection, sql, id, resolve, reject)
      })
    })
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#pool?.end(() => resolve())
    })
  }
}

function poolOptions(name: string, account: Omit<SqlPlace, 'hosts'>): PoolOptions {
  const { hostname: host, port } = new URL(`mysql://${name}`)
  return {
    ...account,
    host,
    port: Number(port || 3306),
    connectionLimit: CONNECTIONS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    waitForConnections: true,
  }
}

function run(
  connection: PoolConnection,
  sql: string,
  id: string,
  resolve: () => void,
  reject: (error: Error) => void,
): void {
  connection.query(sql, [id], (error) => {
    connection.release()
    if (error) reject(error)
    else resolve()
  })
}
