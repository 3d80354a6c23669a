import {
  DataSource,
  EntitySchema,
  EntitySchemaOptions,
  type EntityManager,
  type MigrationInterface,
  type QueryRunner,
  Table,
} from 'typeorm'
import type { MysqlPool } from '../../../src/mysql/index.js'
import { highAvailabilityDriver, transaction } from '../../../src/orm/typeorm.js'
import { SQL_ACCOUNT } from '../../harness/index.js'
import { PLACE } from './place.js'
import { HOST_SQL, type OrmSubject } from './subject.js'

interface Item {
  id: number
  text: string | null
}

/** TypeORM, with readers and a writer. */
export class TypeormSubject implements OrmSubject {
  readonly name = 'TypeORM'
  readonly #driver = highAvailabilityDriver(PLACE)
  #source: DataSource | undefined
  #entity: EntitySchema<Item> | undefined

  get pool(): MysqlPool {
    return this.#driver.pool
  }

  async open(table: string): Promise<void> {
    const options: EntitySchemaOptions<Item> = Object.assign(new EntitySchemaOptions<Item>(), {
      name: table,
      tableName: table,
      columns: { id: { type: 'int', primary: true }, text: { type: 'varchar', length: 40, nullable: true } },
    })
    this.#entity = new EntitySchema<Item>(options)
    class First implements MigrationInterface {
      readonly name = `First${table}1700000000000`

      async up(runner: QueryRunner): Promise<void> {
        const columns = [
          { name: 'id', type: 'int', isPrimary: true },
          { name: 'text', type: 'varchar', length: '40', isNullable: true },
        ]
        await runner.createTable(new Table({ name: table, columns }))
      }

      async down(runner: QueryRunner): Promise<void> {
        await runner.dropTable(table)
      }
    }
    const { user: username, password, database } = SQL_ACCOUNT
    const place = { username, password, database }
    this.#source = new DataSource({
      type: 'mariadb',
      driver: this.#driver,
      ...place,
      replication: { master: place, slaves: [place] },
      entities: [this.#entity],
      migrations: [First],
      migrationsTableName: `${table}_m`,
    })
    await this.#source.initialize()
    await this.#source.runMigrations()
  }

  async insert(id: number, text: string): Promise<void> {
    await this.#opened().getRepository(this.#schema).insert({ id, text })
  }

  async text(id: number): Promise<string | undefined> {
    const rows = this.#opened().createQueryRunner('master').manager.getRepository(this.#schema)
    const runner = rows.queryRunner
    try {
      return (await rows.findOneBy({ id }))?.text ?? undefined
    } finally {
      await runner?.release()
    }
  }

  async inTransaction(id: number, work: () => Promise<void>): Promise<void> {
    await this.#opened().transaction((manager) => this.#write(manager, id, work))
  }

  exactlyOnce(id: number): Promise<void> {
    const body = (manager: EntityManager): Promise<void> => this.#write(manager, id, () => Promise.resolve())
    return transaction(this.pool, this.#opened(), body, { exactlyOnce: true })
  }

  retried(id: number, body: () => Promise<void>): Promise<void> {
    return transaction(this.pool, this.#opened(), (manager) => this.#write(manager, id, body))
  }

  readingHost(): Promise<string> {
    return this.#hostOf('slave')
  }

  writingHost(): Promise<string> {
    return this.#hostOf('master')
  }

  async *streamIds(): AsyncIterable<number> {
    const runner = this.#opened().createQueryRunner('master')
    try {
      const query = this.#opened().createQueryBuilder(this.#schema, 'item', runner).orderBy('item.id')
      for await (const row of await query.stream()) yield (row as unknown as { item_id: number }).item_id
    } finally {
      await runner.release()
    }
  }

  original(error: unknown): unknown {
    return (error as { driverError?: unknown }).driverError ?? error
  }

  async close(): Promise<void> {
    await this.#opened().destroy()
  }

  async #write(manager: EntityManager, id: number, work: () => Promise<void>): Promise<void> {
    await manager.insert(this.#schema, { id, text: 'own' })
    await work()
    await manager.update(this.#schema, { id }, { text: 'done' })
  }

  async #hostOf(mode: 'master' | 'slave'): Promise<string> {
    const runner = this.#opened().createQueryRunner(mode)
    try {
      const rows = (await runner.query(HOST_SQL)) as { host: string }[]
      return rows[0]?.host ?? ''
    } finally {
      await runner.release()
    }
  }

  get #schema(): EntitySchema<Item> {
    if (this.#entity === undefined) throw new Error('not open yet')
    return this.#entity
  }

  #opened(): DataSource {
    if (this.#source === undefined) throw new Error('not open yet')
    return this.#source
  }
}
