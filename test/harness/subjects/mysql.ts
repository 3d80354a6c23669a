import {
  createPool,
  type MysqlPool,
  type MysqlPoolOptions,
  type Transaction,
  type TransactionOptions,
} from '../../../src/mysql/index.js'
import type { Outcome } from '../operation.js'
import type { ReportedFailover, SqlPlace, SqlSubject } from '../subject.js'
import { outcomeOf } from './outcome.js'

/** How the pool is used: single statements in autocommit, or `transaction()`, with the commit fence or without. */
export type MysqlMode = 'query' | 'transaction' | 'exactly-once'

const OPTIONS_OF: Readonly<Record<MysqlMode, TransactionOptions>> = {
  query: {},
  transaction: {},
  'exactly-once': { exactlyOnce: true },
}

/** The pool of this package. */
export class OurMysql implements SqlSubject {
  readonly name: string
  readonly localAddress: string
  readonly #mode: MysqlMode
  readonly #options: MysqlPoolOptions
  readonly #failovers: ReportedFailover[] = []
  #pool: MysqlPool | undefined

  constructor(mode: MysqlMode, localAddress: string, options: MysqlPoolOptions = {}) {
    const { probeTimeoutMs } = options
    this.name = `openstack-ha ${mode}${probeTimeoutMs === undefined ? '' : `, probe ${probeTimeoutMs} ms`}`
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
    this.#pool.on('failover', ({ from, to, detectedMs, elapsedMs }) => {
      this.#failovers.push({ from, to, detectedMs, elapsedMs, at: performance.now() })
    })
    await this.#pool.ready()
  }

  async insert(sql: string, id: string): Promise<void> {
    if (this.#mode === 'query') await this.pool.query(sql, [id])
    else await this.transaction((tx) => tx.query(sql, [id]))
  }

  transaction<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.pool.transaction(body, OPTIONS_OF[this.#mode])
  }

  async read(sql: string): Promise<void> {
    await this.pool.reader.query(sql)
  }

  async readBack(sql: string, id: string): Promise<Readonly<Record<string, unknown>>> {
    const [[row = {}]] = await this.pool.query(sql, [id])
    return row
  }

  async close(): Promise<void> {
    await this.#pool?.close({ timeoutMs: 2000 })
  }

  inUse(): string | undefined {
    return this.pool.status().writer.host
  }

  failovers(): readonly ReportedFailover[] {
    return this.#failovers
  }

  /** Verdicts of the commit fence. */
  notes(): Readonly<Record<string, number>> {
    const counts = Object.entries(this.pool.status().fence)
    return Object.fromEntries(counts.map(([name, count]) => [`fence ${name}`, count as number]))
  }

  outcomeOf(error: unknown): Outcome {
    return outcomeOf(error)
  }

  report(): unknown {
    const { writer, hosts, availability, borrowed, waiting } = this.pool.status()
    return { writer, hosts, availability, borrowed, waiting }
  }
}
