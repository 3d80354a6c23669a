/**
 * Sequelize 6 on a pool of `openstack-ha/mysql`.
 *
 * ```ts
 * const sequelize = new Sequelize('nova', 'nova', 'secret', { dialect: 'mysql' })
 * const db = highAvailability(sequelize, { hosts: ['db1', 'db2', 'db3'] })
 * await transaction(db, sequelize, (t) => Quota.decrement('n', { where: { id: 7 }, transaction: t }))
 * ```
 *
 * @module
 */
import { Transaction, type Sequelize } from 'sequelize'
import {
  createPool,
  InvalidOptionError,
  type CallbackConnection,
  type CallbackPool,
  type MysqlPool,
} from '../mysql/index.js'
import type { MysqlPoolOptions, TransactionOptions } from '../mysql/index.js'
import { askedOptions } from './asked-options.js'

/** What Sequelize keeps of its set-up, and declares as its own affair. */
interface Inside {
  readonly config: { username?: string; password?: string; database?: string; keepDefaultTimezone?: boolean }
  readonly options: {
    timezone?: string
    dialectOptions?: object
    pool?: { max?: number; acquire?: number }
    isolationLevel?: TransactionOptions['isolationLevel']
  }
  readonly connectionManager: {
    pool: PoolOfSequelize
    connect: () => Promise<CallbackPool>
    disconnect: () => Promise<void>
    readonly constructor: { _typecast: (this: unknown, field: unknown, next: () => unknown) => unknown }
  }
}

/** The face of a pool that Sequelize works with. */
interface PoolOfSequelize {
  acquire(type?: string, useMaster?: boolean): Promise<CallbackConnection>
  release(connection: CallbackConnection): void
  destroy(connection: CallbackConnection): Promise<void>
  drain(): Promise<void>
  destroyAllNow(): Promise<void>
}

/**
 * Puts a pool over all hosts in the place of Sequelize's own, and returns it. `options` win over what Sequelize was given.
 *
 * Where Sequelize would read from a replica (its option `replication` is not needed), it reads from any node that is
 * up to date if `readFromAnyNode` is set. `sequelize.close()` closes the pool.
 */
export function highAvailability(
  sequelize: Sequelize,
  { readFromAnyNode = false, ...options }: MysqlPoolOptions & { readonly readFromAnyNode?: boolean },
): MysqlPool {
  // With its dialect for MariaDB's own driver every statement would look done before it is sent.
  if (sequelize.getDialect() !== 'mysql') throw new InvalidOptionError('dialect', "must be 'mysql', for MariaDB, too")
  const { config, options: given, connectionManager: manager } = sequelize as unknown as Inside
  const { timezone = '+00:00' } = given
  const setUp = config.keepDefaultTimezone === true ? [] : [`SET time_zone = '${offsetOf(timezone)}'`]
  const db = createPool({
    user: config.username,
    password: config.password,
    database: config.database,
    flags: ['-FOUND_ROWS'],
    timezone,
    typeCast: manager.constructor._typecast.bind(manager),
    supportBigNumbers: true,
    bigNumberStrings: false,
    ...askedOptions({ connectionLimit: given.pool?.max, acquireTimeoutMs: given.pool?.acquire }),
    ...askedOptions(given.dialectOptions ?? {}),
    ...options,
    initSql: [...setUp, ...[options.initSql ?? []].flat()],
  } as MysqlPoolOptions)
  const acquire = (type?: string, useMaster?: boolean): Promise<CallbackConnection> => {
    const isRead = readFromAnyNode && type === 'SELECT' && useMaster !== true
    return checkedOut(isRead ? db.reader.callbackPool : db.callbackPool)
  }
  manager.pool = {
    acquire,
    release: (connection) => connection.release(),
    destroy: (connection) => {
      connection.destroy()
      return Promise.resolve()
    },
    drain: () => Promise.resolve(),
    destroyAllNow: () => db.close(),
  }
  // By these it asks for the server's version, and does not give back what it has when that fails.
  manager.connect = () => Promise.resolve(db.callbackPool)
  manager.disconnect = () => Promise.resolve()
  return db
}

/**
 * Runs `body` in a transaction of `db`: again after a deadlock or a lost connection, and with `exactlyOnce` exactly once,
 * as `db.transaction` does. What was given to `t.afterCommit` runs after the commit.
 */
export async function transaction<T>(
  db: MysqlPool,
  sequelize: Sequelize,
  body: (t: Transaction) => Promise<T>,
  options?: TransactionOptions,
): Promise<T> {
  const { isolationLevel } = (sequelize as unknown as Inside).options
  const level = isolationLevel ? { isolationLevel } : {}
  const { _cls: scope, _clsRun: inScope } = sequelize.constructor as unknown as Scopes
  const attempts: RunningTransaction[] = []
  const result = await db.transaction(
    (tx) => {
      const t = new Transaction(sequelize, {}) as unknown as RunningTransaction
      t.connection = Object.assign(tx.connection, { uuid: t.id })
      // Its hooks are for a commit that has happened.
      t.commit = () => {
        t.finished = 'commit'
        return Promise.resolve()
      }
      attempts.push(t)
      return inScope(async () => {
        scope?.set('transaction', t)
        try {
          return await body(t as unknown as Transaction)
        } catch (error) {
          t.finished = 'rollback'
          throw error
        }
      })
    },
    { ...level, ...options },
  )
  const last = attempts.at(-1)
  if (last === undefined || last.finished === 'rollback') return result
  last.finished = 'commit'
  for (const hook of last._afterCommitHooks) await hook(last)
  return result
}

/** What Sequelize keeps of a transaction. */
interface RunningTransaction {
  readonly id: string
  readonly _afterCommitHooks: readonly ((t: RunningTransaction) => unknown)[]
  connection: object
  finished?: string
  commit: () => Promise<void>
}

/** How Sequelize hands a transaction to what runs inside it, after `Sequelize.useCLS`. */
interface Scopes {
  readonly _cls?: { set: (name: string, value: unknown) => void }
  readonly _clsRun: <T>(body: () => Promise<T>) => Promise<T>
}

/** Of a named zone its present offset, as Sequelize does: servers may not know the names. */
function offsetOf(timezone: string): string {
  if (!timezone.includes('/')) return timezone
  const format = new Intl.DateTimeFormat('en', { timeZone: timezone, timeZoneName: 'longOffset' })
  const name = format.formatToParts(new Date()).find(({ type }) => type === 'timeZoneName')?.value ?? 'GMT'
  return name === 'GMT' ? '+00:00' : name.slice('GMT'.length)
}

function checkedOut(pool: CallbackPool): Promise<CallbackConnection> {
  return new Promise((resolve, reject) => {
    pool.getConnection((error, connection) => (error === null ? resolve(connection) : reject(error)))
  })
}
