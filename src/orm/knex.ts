/**
 * Knex on a pool of `openstack-ha/mysql`.
 *
 * ```ts
 * const db = createPool({ hosts: ['db1', 'db2', 'db3'], ... })
 * const knex = highAvailability(db)
 * await transaction(db, knex, (trx) => trx('quota').decrement('n', 1))
 * ```
 *
 * @module
 */
import knexFactory, { type Knex } from 'knex'
import { formatEndpoint } from '../core/endpoint.js'
import { ClosedError } from '../core/errors.js'
import type { CallbackConnection, CallbackPool, MysqlPool, Reader, TransactionOptions } from '../mysql/index.js'

/**
 * Makes a Knex whose connections are those of `db`, or of `db.reader` when that is given as `source`.
 *
 * `.timeout(ms, { cancel: true })` reaches the node that runs the query: with a pool that is not its own, Knex would dial
 * localhost for that. `knex.destroy()` leaves `db` open.
 */
export function highAvailability(
  db: MysqlPool,
  config: Omit<Knex.Config, 'client' | 'connection' | 'connectionPool' | 'pool'> = {},
  source: MysqlPool | Reader = db,
): Knex {
  const knex = knexFactory({ ...config, client: 'mysql2', connectionPool: new Checkouts(db, source.callbackPool) } as Knex.Config) // prettier-ignore
  const client = knex.client as object
  const { constructor: Client } = client as { constructor: new (config: never) => object }
  // By its class, because Knex makes a client of its own from that for each transaction.
  class HighAvailabilityClient extends Client {
    cancelQuery({ config: { host = '', port = 3306 }, threadId }: CallbackConnection): Promise<void> {
      return db.kill({ host: formatEndpoint({ host, port }), threadId })
    }
  }
  Object.setPrototypeOf(client, HighAvailabilityClient.prototype)
  return knex
}

/**
 * Runs `body` in a transaction of `db`: again after a deadlock or a lost connection, and with `exactlyOnce` exactly once,
 * as `db.transaction` does. `trx.commit()` commits only when `body` has ended; `trx.rollback()` rejects.
 */
export function transaction<T>(
  db: MysqlPool,
  knex: Knex,
  body: (trx: Knex.Transaction) => Promise<T>,
  options?: TransactionOptions,
): Promise<T> {
  return db.transaction(
    (tx) => knex.transaction(body, { connection: tx.connection, doNotRejectOnRollback: false }),
    options,
  )
}

/**
 * One checkout. Knex gives a connection back twice when a stream fails, the second time when another borrower may have it
 * already: so it gets an object for each checkout, whose second release is nobody's.
 */
class Checkout {
  #connection: CallbackConnection | undefined
  readonly #kept: CallbackConnection

  constructor(connection: CallbackConnection) {
    this.#connection = connection
    this.#kept = connection
  }

  get config(): CallbackConnection['config'] {
    return this.#kept.config
  }

  get threadId(): number {
    return this.#kept.threadId
  }

  query(...given: Parameters<CallbackConnection['query']>): unknown {
    if (this.#connection === undefined) throw new ClosedError('released connection')
    return this.#connection.query(...given)
  }

  release(): void {
    this.#connection?.release()
    this.#connection = undefined
  }
}

/** The face of a pool that Knex takes for its own kind (tarn's). */
class Checkouts {
  readonly #db: MysqlPool
  readonly #pool: CallbackPool

  constructor(db: MysqlPool, pool: CallbackPool) {
    this.#db = db
    this.#pool = pool
  }

  acquire(): { readonly promise: Promise<Checkout> } {
    const promise = new Promise<Checkout>((resolve, reject) => {
      this.#pool.getConnection((error, connection) => {
        if (error === null) resolve(new Checkout(connection))
        else reject(error)
      })
    })
    return { promise }
  }

  release(checkout: Checkout): boolean {
    checkout.release()
    return true
  }

  /** The pool is not Knex's to close. */
  destroy(): Promise<void> {
    return Promise.resolve()
  }

  numUsed(): number {
    return this.#db.status().borrowed
  }

  numFree(): number {
    return this.#db.status().hosts.reduce((sum, { connections }) => sum + connections.idle, 0)
  }

  numPendingAcquires(): number {
    return this.#db.status().waiting
  }
}
