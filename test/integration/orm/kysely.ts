import { Kysely, MysqlDialect, sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { createPool, type MysqlPool } from '../../../src/mysql/index.js'
import { highAvailabilityDialect, transaction } from '../../../src/orm/kysely.js'
import { toError } from '../../../src/core/errors.js'
import { PLACE } from './place.js'
import { HOST_SQL, type OrmSubject } from './subject.js'

type Tables = Record<string, { id: number; text: string }>

/** Kysely. */
export class KyselySubject implements OrmSubject {
  readonly name = 'Kysely'
  readonly pool: MysqlPool = createPool(PLACE)
  readonly #kysely = new Kysely<Tables>({ dialect: highAvailabilityDialect(this.pool) })
  readonly #reader = new Kysely<Tables>({ dialect: new MysqlDialect({ pool: this.pool.reader.callbackPool }) })
  #table = ''

  async open(table: string): Promise<void> {
    this.#table = table
    const create = async (on: Kysely<Tables>): Promise<void> => {
      await on.schema
        .createTable(table)
        .addColumn('id', 'integer', (column) => column.primaryKey())
        .addColumn('text', 'varchar(40)')
        .execute()
    }
    const migrator = new Migrator({
      db: this.#kysely,
      migrationTableName: `${table}_m`,
      migrationLockTableName: `${table}_l`,
      provider: { getMigrations: () => Promise.resolve({ [table]: { up: create } }) },
    })
    const { error } = await migrator.migrateToLatest()
    if (error !== undefined) throw toError(error)
  }

  async insert(id: number, text: string): Promise<void> {
    await this.#kysely.insertInto(this.#table).values({ id, text }).execute()
  }

  async text(id: number): Promise<string | undefined> {
    const row = await this.#kysely.selectFrom(this.#table).select('text').where('id', '=', id).executeTakeFirst()
    return row?.text
  }

  async inTransaction(id: number, work: () => Promise<void>): Promise<void> {
    await this.#kysely.transaction().execute(async (trx) => {
      await trx.insertInto(this.#table).values({ id, text: 'own' }).execute()
      await work()
      await trx.updateTable(this.#table).set({ text: 'done' }).where('id', '=', id).execute()
    })
  }

  exactlyOnce(id: number): Promise<void> {
    return this.#run(id, () => Promise.resolve(), true)
  }

  retried(id: number, body: () => Promise<void>): Promise<void> {
    return this.#run(id, body, false)
  }

  readingHost(): Promise<string> {
    return hostOf(this.#reader)
  }

  writingHost(): Promise<string> {
    return hostOf(this.#kysely)
  }

  async *streamIds(): AsyncIterable<number> {
    for await (const { id } of this.#kysely.selectFrom(this.#table).select('id').orderBy('id').stream()) yield id
  }

  async cancel(seconds: number, afterMs: number): Promise<unknown> {
    const stop = AbortSignal.timeout(afterMs)
    const slow = sql`SELECT SLEEP(${seconds})`.execute(this.#kysely, {
      signal: stop,
      inflightQueryAbortStrategy: 'cancel query',
    } as object)
    return slow.then(
      () => undefined,
      (error: unknown) => error,
    )
  }

  original(error: unknown): unknown {
    return error
  }

  close(): Promise<void> {
    return this.#kysely.destroy()
  }

  async #run(id: number, body: () => Promise<void>, exactlyOnce: boolean): Promise<void> {
    await transaction(
      this.pool,
      this.#kysely,
      async (trx) => {
        await trx.insertInto(this.#table).values({ id, text: 'own' }).execute()
        await body()
        await trx.updateTable(this.#table).set({ text: 'done' }).where('id', '=', id).execute()
      },
      { exactlyOnce },
    )
  }
}

async function hostOf(kysely: Kysely<Tables>): Promise<string> {
  const { rows } = await sql.raw<{ host: string }>(HOST_SQL).execute(kysely)
  return rows[0]?.host ?? ''
}
