import { DataTypes, QueryTypes, Sequelize, type ModelStatic, type Model, type Transaction } from 'sequelize'
import type { MysqlPool } from '../../../src/mysql/index.js'
import { highAvailability, transaction } from '../../../src/orm/sequelize.js'
import { PLACE } from './place.js'
import { HOST_SQL, type OrmSubject } from './subject.js'

type Item = ModelStatic<Model<{ id: number; text: string | null }>>

/** What it is asked with to read from the writer. */
const USE_MASTER = { useMaster: true }

/** Sequelize, with readers and a writer. */
export class SequelizeSubject implements OrmSubject {
  readonly name = 'Sequelize'
  readonly #sequelize = new Sequelize({ dialect: 'mysql', logging: false })
  readonly pool: MysqlPool = highAvailability(this.#sequelize, { ...PLACE, readFromAnyNode: true })
  #rows: Item | undefined

  async open(table: string): Promise<void> {
    const columns = { id: { type: DataTypes.INTEGER, primaryKey: true }, text: DataTypes.STRING(40) }
    this.#rows = this.#sequelize.define(table, columns, { tableName: table, timestamps: false })
    await this.#sequelize.getQueryInterface().createTable(table, columns)
  }

  async insert(id: number, text: string): Promise<void> {
    await this.#model().create({ id, text })
  }

  async text(id: number): Promise<string | undefined> {
    const row = await this.#model().findByPk(id, USE_MASTER)
    return (row?.get('text') as string | null) ?? undefined
  }

  async inTransaction(id: number, work: () => Promise<void>): Promise<void> {
    await this.#sequelize.transaction((t) => this.#write(t, id, work))
  }

  exactlyOnce(id: number): Promise<void> {
    const body = (t: Transaction): Promise<void> => this.#write(t, id, () => Promise.resolve())
    return transaction(this.pool, this.#sequelize, body, { exactlyOnce: true })
  }

  retried(id: number, body: () => Promise<void>): Promise<void> {
    return transaction(this.pool, this.#sequelize, (t) => this.#write(t, id, body))
  }

  readingHost(): Promise<string> {
    return this.#hostOf({})
  }

  writingHost(): Promise<string> {
    return this.#hostOf(USE_MASTER)
  }

  original(error: unknown): unknown {
    return (error as { parent?: unknown }).parent ?? error
  }

  async close(): Promise<void> {
    await this.#sequelize.close()
  }

  async #write(t: Transaction, id: number, work: () => Promise<void>): Promise<void> {
    await this.#model().create({ id, text: 'own' }, { transaction: t })
    await work()
    await this.#model().update({ text: 'done' }, { where: { id }, transaction: t })
  }

  async #hostOf(where: object): Promise<string> {
    const [row] = await this.#sequelize.query<{ host: string }>(HOST_SQL, { type: QueryTypes.SELECT, ...where })
    return row?.host ?? ''
  }

  #model(): Item {
    if (this.#rows === undefined) throw new Error('not open yet')
    return this.#rows
  }
}
