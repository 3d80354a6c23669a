/**
 * TypeORM on a pool of `openstack-ha/mysql`.
 *
 * ```ts
 * const driver = highAvailabilityDriver({ hosts: ['db1', 'db2', 'db3'] })
 * const source = new DataSource({ type: 'mysql', driver, username, password, database, entities })
 * await source.initialize()
 * await transaction(driver.pool, source, (manager) => manager.save(quota), { exactlyOnce: true })
 * ```
 *
 * With `replication` in its options TypeORM sends reads to `SLAVE*`, which are the pool's readers, and writes to `MASTER`,
 * its writer; the hosts that are named there do not matter.
 *
 * @module
 */
import { isDeepStrictEqual } from 'node:util'
import type { DataSource, EntityManager } from 'typeorm'
import { createPool, type CallbackConnection, type CallbackPool, type MysqlPool } from '../mysql/index.js'
import type { MysqlPoolOptions, TransactionOptions } from '../mysql/index.js'
import { askedOptions } from './asked-options.js'

/** Told how it went. */
export type Told = (error: Error | null) => void
/** Given a connection. */
export type Given = (error: Error | null, connection?: CallbackConnection) => void

/** The part of mysql2's PoolCluster that TypeORM uses. */
export interface PoolCluster {
  /** Takes the options of `MASTER`; readers are the pool's own. */
  add(name: string, options: Readonly<Record<string, unknown>>): void
  /** A connection of the writer for `MASTER`, of a reader otherwise. */
  getConnection(pattern: string, done: Given): void
  /** Closes the pool. */
  end(done: Told): void
}

/** What TypeORM takes as its option `driver`. */
export interface HighAvailabilityDriver {
  /** The pool, once TypeORM has initialized. `dataSource.destroy()` closes it. */
  readonly pool: MysqlPool
  /** Called by TypeORM. */
  createPool(options: Readonly<Record<string, unknown>>): CallbackPool
  /** Called by TypeORM when its options have `replication`. */
  createPoolCluster(): PoolCluster
}

/** mysql2 as TypeORM sees it, with a pool over all hosts. `options` win over what TypeORM asks for. */
export function highAvailabilityDriver(options: MysqlPoolOptions): HighAvailabilityDriver {
  let pool: MysqlPool | undefined
  let given: object = {}
  const open = (asked: Readonly<Record<string, unknown>>): MysqlPool => {
    const wanted = { ...askedOptions(asked), ...options }
    if (pool?.status().state === 'open') {
      // TypeORM leaves it open when it fails to initialize, and asks again when it is told to try again.
      if (isDeepStrictEqual(wanted, given)) return pool
      throw new Error('this driver is in use: each data source needs its own')
    }
    given = wanted
    pool = createPool(wanted)
    return pool
  }
  const opened = (): MysqlPool => {
    if (pool === undefined) throw new Error('the pool is there when TypeORM has initialized')
    return pool
  }
  return {
    get pool() {
      return opened()
    },
    createPool: (asked) => open(asked).callbackPool,
    createPoolCluster: () => ({
      add: (name, asked) => {
        if (name === 'MASTER') open(asked)
      },
      getConnection: (pattern, done) => {
        const { callbackPool, reader } = opened()
        const from = pattern === 'MASTER' ? callbackPool : reader.callbackPool
        from.getConnection(done as Parameters<CallbackPool['getConnection']>[0])
      },
      end: (done) => opened().callbackPool.end(done),
    }),
  }
}

/**
 * Runs `body` in a transaction of `db`: again after a deadlock or a lost connection, and with `exactlyOnce` exactly once,
 * as `db.transaction` does, at the isolation level of the data source. Subscribers to the beginning and the end of
 * transactions do not hear of it.
 */
export function transaction<T>(
  db: MysqlPool,
  source: DataSource,
  body: (manager: EntityManager) => Promise<T>,
  options?: TransactionOptions,
): Promise<T> {
  const { isolationLevel } = source.options as { isolationLevel?: TransactionOptions['isolationLevel'] }
  const level = isolationLevel ? { isolationLevel } : {}
  return db.transaction(
    async (tx) => {
      const runner = source.createQueryRunner()
      // As after its own BEGIN: what it begins inside are savepoints.
      Object.assign(runner, { databaseConnection: tx.connection, isTransactionActive: true, transactionDepth: 1 })
      try {
        return await body(runner.manager)
      } finally {
        await runner.release()
      }
    },
    { ...level, ...options },
  )
}
