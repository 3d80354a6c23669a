/**
 * Kysely on a pool of `openstack-ha/mysql`.
 *
 * ```ts
 * const db = createPool({ hosts: ['db1', 'db2', 'db3'], ... })
 * const kysely = new Kysely<Tables>({ dialect: highAvailabilityDialect(db) })
 * await transaction(db, kysely, (trx) => trx.updateTable('quota').set({ n: 1 }).execute())
 * ```
 *
 * @module
 */
import { MysqlDialect, MysqlDriver, Transaction, type Kysely, type MysqlDialectConfig } from 'kysely'
import { formatEndpoint } from '../core/endpoint.js'
import type { MysqlPool, TransactionOptions } from '../mysql/index.js'

type PoolOfDialect = Exclude<MysqlDialectConfig['pool'], (...given: never[]) => unknown>
type ConnectionOfDialect = ReturnType<NonNullable<MysqlDialectConfig['controlConnection']>>

/**
 * Kysely's MySQL dialect on `db`; cancelling a query reaches the node that runs it. In the place of Kysely's
 * `onCreateConnection` are the pool's `onConnection` and `initSql`.
 *
 * `kysely.destroy()` closes `db` when Kysely has run something by itself, outside of {@link transaction}; `db.close()`
 * closes it in any case.
 */
export function highAvailabilityDialect(
  db: MysqlPool,
  config: Omit<MysqlDialectConfig, 'pool' | 'controlConnection' | 'onCreateConnection'> = {},
): MysqlDialect {
  const controlConnection = (options: string | object): ConnectionOfDialect => killer(db, options as NodeOptions)
  const whole = { ...config, pool: db.callbackPool, controlConnection }
  configs.set(db, whole)
  return new MysqlDialect(whole)
}

/** Of each pool's dialect, for its transactions. */
const configs = new WeakMap<MysqlPool, MysqlDialectConfig>()

/**
 * Runs `body` in a transaction of `db`: again after a deadlock or a lost connection, and with `exactlyOnce` exactly once,
 * as `db.transaction` does. Kysely's `log` is not told of what runs in it.
 */
export function transaction<DB, T>(
  db: MysqlPool,
  kysely: Kysely<DB>,
  body: (trx: Transaction<DB>) => Promise<T>,
  options?: TransactionOptions,
): Promise<T> {
  return db.transaction(async (tx) => {
    const pool: PoolOfDialect = {
      getConnection: (done) => done(undefined, tx.connection),
      end: (done) => done(undefined),
    }
    const config = { ...configs.get(db), pool }
    const dialect = new MysqlDialect(config)
    const driver = new MysqlDriver(config)
    await driver.init()
    const connection = await driver.acquireConnection()
    const executor = kysely.getExecutor().withConnectionProvider({ provideConnection: (use) => use(connection) })
    return body(new Transaction<DB>({ config: { dialect }, dialect, driver, executor }))
  }, options)
}

interface NodeOptions {
  readonly host: string
  readonly port: number
}

/** What Kysely dials to cancel a query. It needs no connection: the pool has one to each node. */
function killer(db: MysqlPool, { host, port }: NodeOptions): ConnectionOfDialect {
  const kill = async (sql: string): Promise<void> => {
    const [, what = '', id = ''] = /^kill (query|connection) (\d+)$/.exec(sql) ?? []
    if (id === '') throw new Error(`only KILL is expected here, and not: ${sql}`)
    await db.kill({ host: formatEndpoint({ host, port }), threadId: Number(id) }, what as 'query' | 'connection')
  }
  return {
    config: { host, port },
    threadId: 0,
    connect: (done) => done?.(undefined),
    destroy: () => undefined,
    query: (sql, _parameters, done) => {
      kill(sql).then(
        () => done?.(undefined, []),
        (error: unknown) => done?.(error, []),
      )
      return { stream: () => [] as never }
    },
  }
}
