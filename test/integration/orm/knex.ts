import type { Knex } from 'knex'
import { createPool, type MysqlPool } from '../../../src/mysql/index.js'
import { highAvailability, transaction } from '../../../src/orm/knex.js'
import { PLACE } from './place.js'
import { HOST_SQL, type OrmSubject } from './subject.js'

/** Knex. */
export class KnexSubject implements OrmSubject {
  readonly name = 'Knex'
  readonly pool: MysqlPool = createPool(PLACE)
  readonly #knex = highAvailability(this.pool)
  readonly #reader = highAvailability(this.pool, {}, this.pool.reader)
  #table = ''

  async open(table: string): Promise<void> {
    this.#table = table
    const migration: Knex.Migration = {
      up: (knex) =>
        knex.schema.createTable(table, (columns) => {
          columns.integer('id').primary()
          columns.string('text', 40)
        }),
      down: (knex) => knex.schema.dropTable(table),
    }
    await this.#knex.migrate.latest({
      tableName: `${table}_m`,
      migrationSource: {
        getMigrations: () => Promise.resolve([table]),
        getMigrationName: (name: string) => name,
        getMigration: () => Promise.resolve(migration),
      },
    })
  }

  async insert(id: number, text: string): Promise<void> {
    await this.#knex(this.#table).insert({ id, text })
  }

  async text(id: number): Promise<string | undefined> {
    const row = await this.#knex<{ id: number; text: string }>(this.#table).where({ id }).first()
    return row?.text
  }

  async inTransaction(id: number, work: () => Promise<void>): Promise<void> {
    await this.#knex.transaction((trx) => this.#write(trx, id, work))
  }

  exactlyOnce(id: number): Promise<void> {
    const body = (trx: Knex.Transaction): Promise<void> => this.#write(trx, id, () => Promise.resolve())
    return transaction(this.pool, this.#knex, body, { exactlyOnce: true })
  }

  retried(id: number, body: () => Promise<void>): Promise<void> {
    return transaction(this.pool, this.#knex, (trx) => this.#write(trx, id, body))
  }

  readingHost(): Promise<string> {
    return hostOf(this.#reader)
  }

  writingHost(): Promise<string> {
    return hostOf(this.#knex)
  }

  async *streamIds(): AsyncIterable<number> {
    for await (const { id } of this.#knex(this.#table).select('id').orderBy('id').stream()) yield id as number
  }

  async cancel(seconds: number, afterMs: number): Promise<unknown> {
    const slow = this.#knex.raw('SELECT SLEEP(?)', [seconds]).timeout(afterMs, { cancel: true })
    return slow.then(
      () => undefined,
      (error: unknown) => error,
    )
  }

  original(error: unknown): unknown {
    return error
  }

  async close(): Promise<void> {
    await this.#knex.destroy()
    await this.pool.close()
  }

  async #write(trx: Knex.Transaction, id: number, work: () => Promise<void>): Promise<void> {
    await trx(this.#table).insert({ id, text: 'own' })
    await work()
    await trx(this.#table).where({ id }).update({ text: 'done' })
  }
}

async function hostOf(knex: Knex): Promise<string> {
  const [rows] = (await knex.raw(HOST_SQL)) as [{ host: string }[]]
  return rows[0]?.host ?? ''
}
