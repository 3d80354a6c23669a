import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { MysqlPool, MysqlPoolOptions } from '../../../src/mysql/index.js'
import { whole } from '../../cluster/index.js'
import { adminSql } from '../../harness/index.js'
import { until, within } from '../../harness/timing.js'
import { hostOf, makeTable, numberIn, openPool, writerOf } from './pools.js'

const FOUND_WITHIN_MS = 30_000

let table: string
let db: MysqlPool

beforeAll(async () => {
  await whole('galera')
  table = await makeTable()
})
afterEach(async () => {
  for (const n of [1, 2, 3]) await desync(n, 'OFF')
  await db.close({ timeoutMs: 2000 })
  await adminSql(1, `UPDATE ${table} SET n = id * 10`)
})
afterAll(() => adminSql(1, `DROP TABLE ${table}`))

const open = async (options: MysqlPoolOptions): Promise<void> => {
  db = await openPool(options)
}
const desync = (n: number, value: 'ON' | 'OFF'): Promise<unknown> => adminSql(n, `SET GLOBAL wsrep_desync = ${value}`)

/** A transaction that waits in its middle until it is told to go on; `runs` has the nodes it ran on. */
function paused(): { result: Promise<void>; runs: string[]; goOn: () => void } {
  let goOn = (): void => undefined
  const told = new Promise<void>((resolve) => (goOn = resolve))
  const runs: string[] = []
  const result = db.transaction(async (tx) => {
    runs.push(tx.host)
    await tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = 1`)
    await told
    await tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = 2`)
  })
  result.catch(() => undefined)
  return { result, runs, goOn }
}

test('a transaction that ends while the writer is drained is committed there, and new work waits for the next', async () => {
  await open({ drainTimeoutMs: 20_000 })
  const before = writerOf(db)
  const { result, runs, goOn } = paused()
  await until('in the middle', FOUND_WITHIN_MS, () => runs.length === 1)
  await desync(before, 'ON')
  await until('leaving', FOUND_WITHIN_MS, () => db.status().writer.state === 'leaving')
  const waiting = db.query('SELECT 1 AS one')
  goOn()
  await within(FOUND_WITHIN_MS, 'the transaction', result)
  await within(FOUND_WITHIN_MS, 'the query', waiting)
  expect(runs.length).toBe(1)
  expect(writerOf(db)).not.toBe(before)
  expect([await numberIn(table, 1, writerOf(db)), await numberIn(table, 2, writerOf(db))]).toEqual([11, 21])
})

test('a transaction that outlasts the drain is cut and run again on the next writer, as a whole', async () => {
  await open({ drainTimeoutMs: 100 })
  const before = writerOf(db)
  const { result, runs, goOn } = paused()
  await until('in the middle', FOUND_WITHIN_MS, () => runs.length === 1)
  await desync(before, 'ON')
  await until(
    'another writer',
    FOUND_WITHIN_MS,
    () => db.status().writer.state === 'serving' && writerOf(db) !== before,
  )
  goOn()
  await within(FOUND_WITHIN_MS, 'the transaction', result)
  expect(new Set(runs).size).toBe(2)
  expect([await numberIn(table, 1, writerOf(db)), await numberIn(table, 2, writerOf(db))]).toEqual([11, 21])
})

test('a node whose connections are all lent to readers becomes the writer all the same', async () => {
  await open({ connectionLimit: 2 })
  const before = writerOf(db)
  // Two of each node: no node has room for anybody else.
  const readers = await Promise.all(Array.from({ length: 6 }, () => db.reader.getConnection()))
  const next = before === 1 ? 2 : 1
  expect(hostOf(db, next).connections.borrowed).toBe(2)
  const moved = once(db as never, 'failover')
  await desync(before, 'ON')
  await within(FOUND_WITHIN_MS, 'the change', moved)
  const write = db.query(`UPDATE ${table} SET n = n + 1 WHERE id = 1`)
  expect([writerOf(db), db.status().waiting]).toEqual([next, 1])
  for (const reader of readers) reader.release()
  await within(FOUND_WITHIN_MS, 'the write', write)
  expect(await numberIn(table, 1, writerOf(db))).toBe(11)
})

test('a node that comes and goes does not take the writer with it each time', async () => {
  await open({ failbackDelayMs: 3000 })
  await until('the first node to be old enough', FOUND_WITHIN_MS, () => writerOf(db) === 1)
  const before = 1
  const { failoverCount } = db.status().availability
  for (let round = 1; round <= 4; round += 1) {
    await desync(before, 'ON')
    await until('unfit', FOUND_WITHIN_MS, () => hostOf(db, before).unfit !== undefined)
    await until('a writer', FOUND_WITHIN_MS, () => db.status().writer.state === 'serving')
    await desync(before, 'OFF')
    await until('fit again', FOUND_WITHIN_MS, () => hostOf(db, before).unfit === undefined)
  }
  expect(writerOf(db)).not.toBe(before)
  expect(db.status().availability.failoverCount).toBe(failoverCount + 1)
  expect(db.status().writer.reason).toContain('failback delay')
})
