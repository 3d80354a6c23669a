/** The ORMs where a real server cannot be made to show the fault, or shows it by chance only. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Sequelize } from 'sequelize'
import { createPool, type MysqlPool } from '../../src/mysql/index.js'
import { highAvailability as highAvailabilityKnex } from '../../src/orm/knex.js'
import { highAvailability as highAvailabilitySequelize, transaction } from '../../src/orm/sequelize.js'
import { highAvailabilityDriver } from '../../src/orm/typeorm.js'
import { within } from '../harness/timing.js'
import { FakeMysql } from './fake-mysql.js'

const SETTLED_WITHIN_MS = 10_000
const settles = <T>(work: Promise<T>): Promise<T> => within(SETTLED_WITHIN_MS, 'the call', work)

let fake: FakeMysql
const pools: MysqlPool[] = []
beforeEach(async () => {
  fake = await FakeMysql.start()
})
afterEach(async () => {
  for (const pool of pools.splice(0)) pool.destroy()
  await fake.close()
})

const place = () => ({ env: {}, hosts: [fake.name], user: 'a', password: 'b', database: 'c', connectionLimit: 1 })

function kept(pool: MysqlPool): MysqlPool {
  pools.push(pool)
  return pool
}

describe('Knex', () => {
  test('keeps transactions apart when a stream fails, after which it gives its connection back twice', async () => {
    const db = kept(createPool(place()))
    const knex = highAvailabilityKnex(db)
    fake.script = (sql, session) =>
      sql.includes('from `big`') ? () => session.error(1146, '42S02', 'no such table') : undefined
    const stream = knex('big').stream()
    let work: Promise<unknown> | undefined
    const failed = new Promise((resolve) => {
      stream.on('error', (error) => {
        work = Promise.all(
          ['a', 'b'].map((name) =>
            knex.transaction(async (trx) => {
              await trx(name).update({ n: 1 })
              // The second release is asked for in the middle of this.
              stream.destroy()
              await new Promise(setImmediate)
              await trx(name).update({ n: 2 })
            }),
          ),
        )
        resolve(error)
      })
    })
    stream.resume()
    await expect(settles(failed)).resolves.toMatchObject({ errno: 1146 })
    await settles(work as Promise<unknown>)
    const log = fake.statements.filter((sql) => /update|BEGIN|COMMIT/.test(sql)).map((sql) => sql.split(' set')[0])
    const one = (name: string): string[] => ['BEGIN;', `update \`${name}\``, `update \`${name}\``, 'COMMIT;']
    expect([
      [...one('a'), ...one('b')],
      [...one('b'), ...one('a')],
    ]).toContainEqual(log)
  })
})

describe('Sequelize', () => {
  const made = (): { sequelize: Sequelize; db: MysqlPool } => {
    const sequelize = new Sequelize('c', 'a', 'b', { dialect: 'mysql', logging: false })
    return { sequelize, db: kept(highAvailabilitySequelize(sequelize, place())) }
  }

  test('with its dialect for another driver is refused', () => {
    const sequelize = new Sequelize('c', 'a', 'b', { dialect: 'mariadb', dialectModule: {}, logging: false })
    expect(() => highAvailabilitySequelize(sequelize, place())).toThrow(/dialect/)
  })

  test('keeps no connection when it cannot learn the version of the server', async () => {
    const { sequelize, db } = made()
    fake.script = (sql, session) => (/VERSION/.test(sql) ? () => session.error(1317, '70100', 'no') : undefined)
    for (let i = 0; i < 3; i += 1) await expect(settles(sequelize.query('SELECT 1'))).rejects.toThrow()
    expect(db.status().borrowed).toBe(0)
    fake.script = (sql, session) => (/VERSION/.test(sql) ? () => session.rows(['version'], [['8.0.11']]) : undefined)
    await settles(sequelize.query('UPDATE a SET n = 1'))
    await settles(sequelize.close())
  })

  test('calls afterCommit once, after the commit that succeeded', async () => {
    const { sequelize, db } = made()
    fake.script = (sql, session) => (/VERSION/.test(sql) ? () => session.rows(['version'], [['8.0.11']]) : undefined)
    await settles(sequelize.query('UPDATE warm SET n = 1'))
    fake.once('COMMIT', (session) => {
      session.isInTransaction = false
      session.error(1213, '40001', 'no')
    })
    const commits: number[] = []
    await settles(
      transaction(db, sequelize, async (t) => {
        t.afterCommit(() => void commits.push(fake.count('COMMIT')))
        await sequelize.query('UPDATE a SET n = 1', { transaction: t })
        await t.commit()
      }),
    )
    expect(commits).toEqual([2])
  })
})

describe('TypeORM’s driver', () => {
  test('gives the same pool when it is told to try again, and none to another data source', () => {
    const driver = highAvailabilityDriver(place())
    const first = driver.createPool({ database: 'c', host: 'x' })
    kept(driver.pool)
    expect(driver.createPool({ database: 'c', host: 'y' })).toBe(first)
    expect(() => driver.createPool({ database: 'c', charset: 'utf8mb4' })).toThrow(/in use/)
  })
})
