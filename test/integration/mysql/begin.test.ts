import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { MysqlPool, MysqlPoolOptions, Transaction } from '../../../src/mysql/index.js'
import { Deferred } from '../../../src/core/timing.js'
import { adminSql } from '../../harness/index.js'
import { makeTable, openPool } from './pools.js'

let table: string
beforeAll(async () => {
  table = await makeTable()
})
afterAll(() => adminSql(1, `DROP TABLE ${table}`))

/** What `ask` returns on a pool of one connection. */
async function withPool<T>(options: MysqlPoolOptions, ask: (db: MysqlPool) => Promise<T>): Promise<T> {
  const db = await openPool({ connectionLimit: 1, ...options })
  try {
    return await ask(db)
  } finally {
    await db.close()
  }
}

/** How many statements the one connection was asked so far. */
async function questions(db: MysqlPool): Promise<number> {
  const [rows] = await db.query<{ Value: string }[]>("SHOW SESSION STATUS LIKE 'Questions'")
  return Number(rows[0]?.Value)
}

const firstRow = async (tx: Transaction, sql: string, values?: unknown): Promise<unknown> =>
  (await tx.query<unknown[]>(sql, values))[0][0]

describe('a transaction that begins with a SELECT', () => {
  test('takes its locks with it, and asks for nothing else', async () => {
    await withPool({}, async (db) => {
      const before = await questions(db)
      await db.transaction(async (tx) => {
        await expect(firstRow(tx, `SELECT n FROM ${table} WHERE id = ? FOR UPDATE`, [1])).resolves.toEqual({ n: 10 })
        const other = adminSql(1, 'SET SESSION innodb_lock_wait_timeout = 1', `UPDATE ${table} SET n = 11 WHERE id = 1`)
        await expect(other).rejects.toThrow()
        await tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = 2`)
        await tx.query(`UPDATE ${table} SET n = n - 1 WHERE id = 2`)
      })
      // BEGIN, SELECT, two UPDATE, COMMIT, and the question itself.
      expect((await questions(db)) - before).toBe(6)
    })
  })

  test.each(['SELECT n FROM no_such_table', 'SELECT FROM WHERE'])(
    'is one still when it fails and the function goes on: %s',
    async (sql) => {
      await withPool({}, async (db) => {
        const body = async (tx: Transaction): Promise<void> => {
          await expect(tx.query(sql)).rejects.toMatchObject({ sqlState: expect.stringMatching(/^42/) as string })
          await tx.query(`INSERT INTO ${table} VALUES (99, 99)`)
          throw new Error('on purpose')
        }
        await expect(db.transaction(body)).rejects.toThrow('on purpose')
        await expect(db.query(`SELECT n FROM ${table} WHERE id = 99`)).resolves.toMatchObject([[], {}])
      })
    },
  )

  test('is run again after a deadlock, and leaves the connection as it was', async () => {
    await withPool({ connectionLimit: 2 }, async (db) => {
      let runs = 0
      let held = 0
      const bothHold = new Deferred<undefined>()
      const swap = (one: number, other: number) => async (tx: Transaction) => {
        runs += 1
        await firstRow(tx, `SELECT n FROM ${table} WHERE id = ? FOR UPDATE`, [one])
        if ((held += 1) === 2) bothHold.resolve(undefined)
        await bothHold.promise
        await firstRow(tx, `SELECT n FROM ${table} WHERE id = ? FOR UPDATE`, [other])
      }
      await Promise.all([db.transaction(swap(1, 2)), db.transaction(swap(2, 1))])
      expect(runs).toBe(3)
      await db.query(`INSERT INTO ${table} VALUES (98, 98)`)
      await expect(adminSql(1, `SELECT n FROM ${table} WHERE id = 98`)).resolves.toEqual([{ n: 98 }])
    })
  })
})

test('a transaction without a statement asks the server for nothing', async () => {
  await withPool({}, async (db) => {
    const before = await questions(db)
    await expect(db.transaction(() => Promise.resolve(7))).resolves.toBe(7)
    expect((await questions(db)) - before).toBe(1)
  })
})
