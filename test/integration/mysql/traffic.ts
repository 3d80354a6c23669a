import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import type { MysqlPool } from '../../../src/mysql/index.js'
import { outcomeOf } from '../../harness/subjects/outcome.js'
import { adminSql, SQL_ACCOUNT, watchUnhandled, Workload } from '../../harness/index.js'

const WORKERS = 8
const PAUSE_MS = 2
const SETTLE_LIMIT_MS = 35_000

/** Workers that insert numbered rows by `transaction()`, and a comparison of what they were told with what is there. */
export class SqlTraffic {
  readonly #table = `${SQL_ACCOUNT.database}.traffic_${randomUUID().replaceAll('-', '').slice(0, 12)}`
  readonly #unhandled = watchUnhandled()
  readonly #workload: Workload

  private constructor(pool: MysqlPool) {
    const insert = `INSERT INTO ${this.#table} (op) VALUES (?)`
    this.#workload = new Workload({
      workers: WORKERS,
      pauseMs: PAUSE_MS,
      operate: async ({ id }) => {
        await pool.transaction((tx) => tx.query(insert, [id]))
      },
      outcomeOf,
    })
  }

  static async start(pool: MysqlPool): Promise<SqlTraffic> {
    const traffic = new SqlTraffic(pool)
    await adminSql(1, `CREATE TABLE ${traffic.#table} (n BIGINT AUTO_INCREMENT PRIMARY KEY, op VARCHAR(40) NOT NULL)`)
    traffic.#workload.start()
    await traffic.more(20)
    return traffic
  }

  /** Resolves when so many more transactions are committed. */
  async more(count: number): Promise<void> {
    const { recorder } = this.#workload
    const goal = recorder.acknowledged + count
    await expect.poll(() => recorder.acknowledged, { timeout: 60_000, interval: 5 }).toBeGreaterThanOrEqual(goal)
  }

  /**
   * Ends, and expects that nothing hangs, is lost, done twice or wrongly denied, and that no error came but those in
   * `allowed`. `admin` is a node that is well.
   */
  async finish(admin: number, allowed: readonly string[] = []): Promise<void> {
    await this.#workload.finish(SETTLE_LIMIT_MS)
    const { recorder } = this.#workload
    const rows = await adminSql(
      admin,
      'SET SESSION wsrep_sync_wait = 1',
      `SELECT op, COUNT(*) AS times FROM ${this.#table} GROUP BY op`,
    )
    const { lost, twice, denied } = recorder.ledger.compare(
      new Map(rows.map((row) => [String(row['op']), Number(row['times'])])),
    )
    await adminSql(admin, `DROP TABLE ${this.#table}`)
    this.#unhandled.stop()
    const unexpected = recorder.firstErrors
      .map(({ error }) => error)
      .filter((error) => !allowed.includes((error as { code: string }).code))
    expect({ lost, twice, denied, unexpected }).toEqual({ lost: [], twice: [], denied: [], unexpected: [] })
    expect([...recorder.errors.keys()].filter((code) => !allowed.includes(code))).toEqual([])
    expect(recorder.unsettled).toBe(0)
    expect(this.#unhandled.errors).toEqual([])
  }
}
