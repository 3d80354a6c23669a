import { createPool, type MysqlPool, type MysqlPoolOptions } from '../../../src/mysql/index.js'
import type { Outcome } from '../operation.js'
import type { ReportedFailover, SqlPlace, SqlSubject } from '../subject.js'
import { outcomeOf } from './outcome.js'

/** How the pool is used: single statements in autocommit, or `transaction()`. */
export type MysqlMode = 'query' | 'transaction'

/** The pool of this package. */
export class OurMysql implements SqlSubject {
  readonly name: string
  readonly localAddress: string
  readonly #mode: MysqlMode
  readonly #options: MysqlPoolOptions
  #pool: MysqlPool | undefined

  constructor(mode: MysqlMode, localAddress: string, options: MysqlPoolOptions = {}) {
    this.name = `openstack-ha ${mode}`
    this.localAddress = localAddress
    this.#mode = mode
    this.#options = options
  }

  get pool(): MysqlPool {
    if (this.#pool === undefined) throw new Error('not open yet')
    return this.#pool
  }

  async open({ hosts, user, password, database }: SqlPlace): Promise<void> {
    const place = { hosts, user, password, database, localAddress: this.localAddress, env: {} }
    this.#pool = createPool({ ...place, ...this.#options })
    await this.#pool.ready()
  }

  async insert(sql: string, id: string): Promise<void> {
    if (this.#mode === 'query') await this.pool.query(sql, [id])
    else await this.pool.transaction((tx) => tx.query(sql, [id]))
  }

  async read(sql: string): Promise<void> {
    await this.pool.reader.query(sql)
  }

  async close(): Promise<void> {
    await this.#pool?.close({ timeoutMs: 2000 })
  }

  inUse(): string | undefined {
    return this.pool.status().writer.host
  }

  failovers(): readonly ReportedFailover[] {
    return this.pool.status().availability.failovers
  }

  outcomeOf(error: unknown): Outcome {
    return outcomeOf(error)
  }

  report(): unknown {
    const { writer, hosts, availability, borrowed, waiting } = this.pool.status()
    return { writer, hosts, availability, borrowed, waiting }
  }
}
