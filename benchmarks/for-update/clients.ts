import { connect } from 'node:net'
import mysql, { type PoolCluster, type PoolConnection } from 'mysql2/promise'
import { OurMysql, type SqlPlace } from '../../test/harness/index.js'
import { move, type Transfer, type TransferClient } from './transfer.js'

/** Where a client works, and from which source address. */
export interface TransferPlace extends SqlPlace {
  readonly localAddress: string
}

const CONNECTIONS = 8
const CONNECT_TIMEOUT_MS = 2000

/** Every client that is compared, by the name that the command line has for it; ours begin with `ours`. */
export const CLIENTS = {
  'ours-transaction': (place: TransferPlace): TransferClient => new Ours('transaction', place),
  'ours-exactly-once': (place: TransferPlace): TransferClient => new Ours('exactly-once', place),
  'mysql2-in-order': (place: TransferPlace): TransferClient => new Mysql2('ORDER', place),
  'mysql2-round-robin': (place: TransferPlace): TransferClient => new Mysql2('RR', place),
} as const

export type ClientName = keyof typeof CLIENTS

class Ours implements TransferClient {
  readonly #subject: OurMysql
  readonly #place: TransferPlace

  constructor(mode: 'transaction' | 'exactly-once', place: TransferPlace) {
    this.#subject = new OurMysql(mode, place.localAddress)
    this.#place = place
  }

  open(): Promise<void> {
    return this.#subject.open(this.#place)
  }

  transfer(table: string, transfer: Transfer): Promise<string> {
    return this.#subject.transaction(async (tx) => {
      await move(async (sql, values) => (await tx.query(sql, values))[0], table, transfer)
      return tx.host
    })
  }

  verdicts(): Readonly<Record<string, number>> {
    return this.#subject.notes()
  }

  close(): Promise<void> {
    return this.#subject.close()
  }
}

/** mysql2 PoolCluster: canRetry, a node is removed after one error. */
class Mysql2 implements TransferClient {
  readonly #selector: 'ORDER' | 'RR'
  readonly #cluster: PoolCluster

  constructor(selector: 'ORDER' | 'RR', { hosts, localAddress, ...account }: TransferPlace) {
    this.#selector = selector
    this.#cluster = mysql.createPoolCluster({ canRetry: true, removeNodeErrorCount: 1 })
    for (const [i, name] of hosts.entries()) {
      const { hostname: host, port: digits } = new URL(`mysql://${name}`)
      const port = Number(digits)
      const limits = { connectionLimit: CONNECTIONS, connectTimeout: CONNECT_TIMEOUT_MS }
      // The driver itself cannot choose its source address.
      const stream = () => connect({ host, port, localAddress, noDelay: true, keepAlive: true })
      this.#cluster.add(`node${i + 1}`, { ...account, ...limits, host, port, stream })
    }
  }

  open(): Promise<void> {
    return Promise.resolve()
  }

  async transfer(table: string, transfer: Transfer): Promise<string> {
    const connection = await this.#cluster.getConnection('*', this.#selector)
    try {
      await connection.query('START TRANSACTION')
      await move(async (sql, values) => (await connection.query(sql, values))[0], table, transfer)
      await connection.query('COMMIT')
      const { host = '', port = 0 } = connection.config
      connection.release()
      return `${host}:${port}`
    } catch (error) {
      await giveBack(connection, error)
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#cluster.end()
  }
}

async function giveBack(connection: PoolConnection, error: unknown): Promise<void> {
  try {
    if ((error as { readonly fatal?: boolean }).fatal === true) throw error
    await connection.query('ROLLBACK')
    connection.release()
  } catch {
    connection.destroy()
  }
}
