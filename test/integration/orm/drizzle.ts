import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eq, sql } from 'drizzle-orm'
import { int, mysqlTable, varchar, withReplicas } from 'drizzle-orm/mysql-core'
import { drizzle } from 'drizzle-orm/mysql2'
import { migrate } from 'drizzle-orm/mysql2/migrator'
import { createPool, type MysqlPool } from '../../../src/mysql/index.js'
import { transaction } from '../../../src/orm/drizzle.js'
import { PLACE } from './place.js'
import { HOST_SQL, type OrmSubject } from './subject.js'

const rowsTable = (name: string) => mysqlTable(name, { id: int().primaryKey(), text: varchar({ length: 40 }) })

/** Drizzle. */
export class DrizzleSubject implements OrmSubject {
  readonly name = 'Drizzle'
  readonly pool: MysqlPool = createPool(PLACE)
  readonly #orm = drizzle({ client: this.pool.callbackPool })
  readonly #both = withReplicas(this.#orm, [drizzle({ client: this.pool.reader.callbackPool })])
  #rows = rowsTable('')

  async open(table: string): Promise<void> {
    this.#rows = rowsTable(table)
    const migrationsFolder = await mkdtemp(join(tmpdir(), 'drizzle-'))
    const entries = [{ idx: 0, version: '5', when: 1, tag: '0000_first', breakpoints: true }]
    await mkdir(join(migrationsFolder, 'meta'))
    await writeFile(join(migrationsFolder, 'meta', '_journal.json'), JSON.stringify({ version: '7', entries }))
    const sql = `CREATE TABLE ${table} (id INT PRIMARY KEY, text VARCHAR(40))`
    await writeFile(join(migrationsFolder, '0000_first.sql'), sql)
    await migrate(this.#orm, { migrationsFolder, migrationsTable: `${table}_m` })
    await rm(migrationsFolder, { recursive: true })
  }

  async insert(id: number, text: string): Promise<void> {
    await this.#orm.insert(this.#rows).values({ id, text })
  }

  async text(id: number): Promise<string | undefined> {
    const [row] = await this.#orm.select().from(this.#rows).where(eq(this.#rows.id, id))
    return row?.text ?? undefined
  }

  async inTransaction(id: number, work: () => Promise<void>): Promise<void> {
    await this.#orm.transaction(async (trx) => {
      await trx.insert(this.#rows).values({ id, text: 'own' })
      await work()
      await trx.update(this.#rows).set({ text: 'done' }).where(eq(this.#rows.id, id))
    })
  }

  exactlyOnce(id: number): Promise<void> {
    return this.#run(id, () => Promise.resolve(), true)
  }

  retried(id: number, body: () => Promise<void>): Promise<void> {
    return this.#run(id, body, false)
  }

  async readingHost(): Promise<string> {
    const [row] = await this.#both.select({ host: sql<string>`@@wsrep_node_address` }).from(sql`DUAL`)
    return row?.host ?? ''
  }

  async writingHost(): Promise<string> {
    const [rows] = await this.#both.$primary.execute(HOST_SQL)
    return (rows as unknown as { host: string }[])[0]?.host ?? ''
  }

  async *streamIds(): AsyncIterable<number> {
    const rows = this.#orm.select().from(this.#rows).orderBy(this.#rows.id).prepare()
    for await (const { id } of rows.iterator()) yield id
  }

  original(error: unknown): unknown {
    return (error as { cause?: unknown }).cause ?? error
  }

  close(): Promise<void> {
    return this.pool.close()
  }

  async #run(id: number, body: () => Promise<void>, exactlyOnce: boolean): Promise<void> {
    await transaction(
      this.pool,
      this.#orm,
      async (trx) => {
        await trx.insert(this.#rows).values({ id, text: 'own' })
        await body()
        await trx.update(this.#rows).set({ text: 'done' }).where(eq(this.#rows.id, id))
      },
      { exactlyOnce },
    )
  }
}
