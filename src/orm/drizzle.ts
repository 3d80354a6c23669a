/**
 * Drizzle on a pool of `openstack-ha/mysql`: `drizzle({ client: db.callbackPool })` needs nothing of this module.
 *
 * ```ts
 * await transaction(db, orm, (trx) => trx.update(quota).set({ n: 1 }), { exactlyOnce: true })
 * ```
 *
 * @module
 */
import { MySql2Session, type MySql2Database } from 'drizzle-orm/mysql2'
import type { MysqlPool, TransactionOptions } from '../mysql/index.js'

/** What Drizzle gives to the function of a transaction. */
type TransactionOf<Schema extends Record<string, unknown>> = Parameters<
  Parameters<MySql2Database<Schema>['transaction']>[0]
>[0]

/**
 * Runs `body` in a transaction of `db`: again after a deadlock or a lost connection, and with `exactlyOnce` exactly once,
 * as `db.transaction` does.
 */
export function transaction<Schema extends Record<string, unknown>, T>(
  db: MysqlPool,
  orm: MySql2Database<Schema>,
  body: (trx: TransactionOf<Schema>) => Promise<T>,
  options?: TransactionOptions,
): Promise<T> {
  const { dialect, session } = orm as unknown as Inside
  return db.transaction(async (tx) => {
    const bound = new MySql2Session(tx.connection.promise(), dialect, session.schema, session.options)
    return bound.transaction(body as never)
  }, options)
}

/** What Drizzle keeps of its set-up, and declares as its own affair. */
interface Inside {
  readonly dialect: never
  readonly session: { readonly schema: never; readonly options: never }
}
