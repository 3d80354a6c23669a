import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { MysqlPool } from '../../../src/mysql/index.js'
import { blackhole, heal, whole } from '../../cluster/index.js'
import { adminSql } from '../../harness/index.js'
import { within } from '../../harness/timing.js'
import { clientPort, hostOf, makeTable, numberIn, openPool, threadOf, writerOf } from './pools.js'

let db: MysqlPool
let table: string
beforeAll(async () => {
  await whole('galera')
  table = await makeTable()
})
beforeEach(async () => {
  db = await openPool()
})
afterEach(async () => {
  await heal('galera')
  await db.close({ timeoutMs: 2000 })
})
afterAll(() => adminSql(1, `DROP TABLE ${table}`))

const FOUND_WITHIN_MS = 30_000

describe('one connection whose packets vanish while its node is fine', () => {
  test('costs its caller an answer and nobody the writer; statements that really run long go on', async () => {
    const n = writerOf(db)
    const cut = await db.getConnection()
    const holder = await db.getConnection()
    await holder.beginTransaction()
    await holder.query(`UPDATE ${table} SET n = n + 1 WHERE id = 2`)
    const slow = db.query('SELECT SLEEP(9) AS done')
    const blocked = db.query(`UPDATE ${table} SET n = n + 1 WHERE id = 2`)
    await blackhole('galera', n, { fromPort: await clientPort(cut) })
    const lost = cut.query(`UPDATE ${table} SET n = 0 WHERE id = 1`)
    await expect(within(FOUND_WITHIN_MS, 'end of the call', lost)).rejects.toMatchObject({
      code: 'HA_OUTCOME_UNKNOWN',
      cause: { code: 'HA_CONNECTION_LOST', message: expect.stringContaining('packets do not get through') as string },
    })
    // The server knows nothing of it: neither the statement nor the reset came through.
    expect(await threadOf(cut)).toMatchObject([{ command: 'Sleep' }])
    cut.release()
    await expect(slow).resolves.toMatchObject([[{ done: 0 }], {}])
    await holder.query('COMMIT')
    await blocked
    holder.release()
    expect([await numberIn(table, 1), await numberIn(table, 2)]).toEqual([10, 22])
    expect(db.status().availability).toMatchObject({ failoverCount: 0 })
    expect([writerOf(db), hostOf(db, n).state]).toEqual([n, 'up'])
  })

  test('is found when only the answer is lost, and when the server has given it up', async () => {
    const n = writerOf(db)
    const answered = await db.getConnection()
    const ended = await db.getConnection()
    const ports = [await clientPort(answered), await clientPort(ended)]
    const calls = [answered.query('SELECT SLEEP(4)'), ended.query('SELECT SLEEP(60)')]
    const results = Promise.allSettled(calls)
    await expect.poll(async () => (await threadOf(ended))[0]?.['state']).toBe('User sleep')
    await expect.poll(async () => (await threadOf(answered))[0]?.['state']).toBe('User sleep')
    for (const fromPort of ports) await blackhole('galera', n, { fromPort })
    await expect(within(FOUND_WITHIN_MS, 'end of the first', calls[0] as Promise<unknown>)).rejects.toMatchObject({
      cause: { message: expect.stringContaining('waits for a statement') as string },
    })
    await adminSql(n, `KILL CONNECTION ${ended.threadId}`)
    await expect(within(FOUND_WITHIN_MS, 'end of the second', calls[1] as Promise<unknown>)).rejects.toMatchObject({
      cause: { message: expect.stringContaining('the server has ended it') as string },
    })
    await results
    for (const connection of [answered, ended]) connection.release()
    expect(db.status()).toMatchObject({ availability: { failoverCount: 0 }, borrowed: 0 })
  })
})
