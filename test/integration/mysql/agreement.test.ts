import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { NoWriterError, type MysqlPool, type MysqlPoolOptions } from '../../../src/mysql/index.js'
import { blackhole, heal, kill, partition, start, whole } from '../../cluster/index.js'
import { adminSql } from '../../harness/index.js'
import { until, within } from '../../harness/timing.js'
import { CLIENT_ADDRESS, HOSTS, hostOf, makeTable, numberIn, openPool, writerOf } from './pools.js'

const OTHER_ADDRESS = '127.0.9.22'
const FOUND_WITHIN_MS = 30_000
const WHOLE = { timeoutMs: 120_000 }

let table: string
const pools: MysqlPool[] = []

beforeAll(async () => {
  await whole('galera', WHOLE)
  table = await makeTable()
})
afterEach(async () => {
  await heal('galera')
  await start('galera')
  await Promise.all(pools.splice(0).map((db) => db.close({ timeoutMs: 2000 })))
  await whole('galera', WHOLE)
  await adminSql(1, `UPDATE ${table} SET n = id * 10`)
})
afterAll(() => adminSql(1, `DROP TABLE ${table}`))

async function open(options: MysqlPoolOptions = {}): Promise<MysqlPool> {
  const db = await openPool(options)
  pools.push(db)
  return db
}

const increment = (db: MysqlPool): Promise<unknown> =>
  db.transaction((tx) => tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = 1`))

test('a client that cannot reach the writer of the others uses the next, says so, and returns', async () => {
  const cutOff = await open({ failbackDelayMs: 1000 })
  const other = await open({ localAddress: OTHER_ADDRESS, failbackDelayMs: 1000 })
  const n = writerOf(other)
  expect(writerOf(cutOff)).toBe(n)
  await blackhole('galera', n, { from: CLIENT_ADDRESS })
  await until('another writer', FOUND_WITHIN_MS, () => {
    const { state, host } = cutOff.status().writer
    return state === 'serving' && host !== HOSTS[n - 1]
  })
  expect(cutOff.status().writer.reason).toBe(`this client cannot use ${HOSTS[n - 1]}: next in order of preference`)
  expect([writerOf(other), other.status().availability.failoverCount]).toEqual([n, 0])
  // Two writers on one row: certification refuses one of them, and that one is run again.
  const both = Array.from({ length: 40 }, (_, i) => increment(i % 2 === 0 ? cutOff : other))
  await within(60_000, 'the increments', Promise.all(both))
  expect(await numberIn(table, 1)).toBe(10 + both.length)
  await heal('galera')
  await until('agreement', 60_000, () => cutOff.status().writer.state === 'serving' && writerOf(cutOff) === n)
  expect(cutOff.status().writer.reason).toBe('first in order of preference')
})

test('a node that was cut off from the others is neither read from nor written to', async () => {
  const db = await open()
  const n = writerOf(db)
  await partition('galera', n)
  await until('another writer', FOUND_WITHIN_MS, () => db.status().writer.state === 'serving' && writerOf(db) !== n)
  expect(hostOf(db, n)).toMatchObject({ state: 'up' })
  expect(hostOf(db, n).unfit).toMatch(/is (in an older view|non-Primary|Initialized|not ready)/)
  await increment(db)
  const readings = await Promise.all(
    Array.from({ length: 20 }, () => db.reader.query<[{ host: string }]>('SELECT @@wsrep_node_address AS host')),
  )
  const askedNodes = new Set(readings.map(([[{ host }]]) => `${host}:3306`))
  expect(askedNodes).not.toContain(HOSTS[n - 1])
  expect(await numberIn(table, 1, writerOf(db))).toBe(11)
})

test('without a quorum nothing is written anywhere; when the cluster is whole again held writes go through', async () => {
  const patient = await open({ failoverTimeoutMs: 110_000, acquireTimeoutMs: 110_000 })
  const hasty = await open({ failoverTimeoutMs: 2000 })
  await Promise.all([kill('galera', 1), kill('galera', 2)])
  await until('the loss', FOUND_WITHIN_MS, () =>
    pools.every((db) => hostOf(db, 3).unfit !== undefined && db.status().writer.state === 'none'),
  )
  const held = increment(patient)
  held.catch(() => undefined)
  const error: unknown = await within(
    FOUND_WITHIN_MS,
    'a held write',
    increment(hasty).catch((cause: unknown) => cause),
  )
  expect(error).toBeInstanceOf(NoWriterError)
  const { hosts } = error as NoWriterError
  expect(hosts.map(({ host }) => host)).toEqual(HOSTS)
  expect(hosts.map(({ state }) => state)).toEqual(['is down', 'is down', 'is non-Primary'])
  expect(hosts[0]?.error).toMatchObject({ code: 'ECONNREFUSED' })
  for (const host of HOSTS) expect(String(error)).toContain(host)
  expect(patient.status().waiting).toBe(1)
  await start('galera')
  await within(110_000, 'the held write', held)
  await whole('galera', WHOLE)
  for (const n of [1, 2, 3]) expect(await numberIn(table, 1, n)).toBe(11)
})
