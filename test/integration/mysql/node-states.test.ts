import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { MysqlPool, MysqlPoolOptions } from '../../../src/mysql/index.js'
import { freeze, heal, reset, thaw, whole } from '../../cluster/index.js'
import { adminSql, connectSql, SQL_ACCOUNT } from '../../harness/index.js'
import { until, within } from '../../harness/timing.js'
import { HOSTS, hostOf, makeTable, numberIn, openPool, threadOf, writerOf } from './pools.js'

const ROOT = { user: 'root', password: '' }
const FOUND_WITHIN_MS = 30_000

let table: string
const pools: MysqlPool[] = []
const mends: (() => unknown)[] = []

beforeAll(async () => {
  await whole('galera')
  table = await makeTable()
})
afterEach(async () => {
  await heal('galera')
  for (const mend of mends.splice(0)) await mend()
  await Promise.all(pools.splice(0).map((db) => db.close({ timeoutMs: 2000 })))
  await adminSql(1, `UPDATE ${table} SET n = id * 10`)
})
afterAll(async () => {
  await whole('galera')
  await adminSql(1, `DROP TABLE ${table}`)
})

async function open(options: MysqlPoolOptions = {}): Promise<MysqlPool> {
  const db = await openPool(options)
  pools.push(db)
  return db
}

/** Sets something on one node and puts it back after the test. */
async function setGlobal(n: number, statement: string, back: string): Promise<void> {
  mends.push(() => adminSql(n, back))
  await adminSql(n, statement)
}

async function counter(n: number, name: string): Promise<number> {
  const [row] = await adminSql(n, `SHOW GLOBAL STATUS LIKE '${name}'`)
  return Number(row?.['Value'])
}

const increment = (db: MysqlPool, id = 1): Promise<unknown> =>
  db.transaction((tx) => tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = ?`, [id]))

/** Increments one after the other until `isOver`; an answer to COMMIT that was refused as 1047 leaves it unknown. */
async function keepIncrementing(db: MysqlPool, isOver: () => boolean): Promise<{ done: number; unknown: number }> {
  const counts = { done: 0, unknown: 0 }
  while (!isOver()) {
    try {
      await increment(db)
      counts.done += 1
    } catch (error) {
      expect(error).toMatchObject({ name: 'CommitOutcomeUnknownError', cause: { errno: 1047 } })
      counts.unknown += 1
    }
  }
  return counts
}

describe('a node that is asked to serve no longer', () => {
  test.each([
    ['wsrep_desync', 'SET GLOBAL wsrep_desync = ON', 'SET GLOBAL wsrep_desync = OFF', /desync/i],
    [
      'wsrep_reject_queries',
      "SET GLOBAL wsrep_reject_queries = 'ALL'",
      "SET GLOBAL wsrep_reject_queries = 'NONE'",
      /rejects|not ready/,
    ],
  ])('by %s hands the writer over, and no transaction fails', async (_name, on, off, reason) => {
    const db = await open()
    const before = writerOf(db)
    let isOver = false
    const work = keepIncrementing(db, () => isOver)
    work.catch(() => undefined)
    await setGlobal(before, on, off)
    await until('another writer', FOUND_WITHIN_MS, () => db.status().availability.failoverCount === 1)
    expect(hostOf(db, before).unfit).toMatch(reason)
    await increment(db)
    isOver = true
    const { done, unknown } = await work
    expect(writerOf(db)).not.toBe(before)
    expect(unknown).toBeLessThanOrEqual(1)
    const value = await numberIn(table, 1, writerOf(db))
    expect(value).toBeGreaterThanOrEqual(10 + done + 1)
    expect(value).toBeLessThanOrEqual(10 + done + 1 + unknown)
  })
})

describe('nobody is failed over by', () => {
  test('the reset of all connections of a node that is well', async () => {
    const db = await open()
    const n = writerOf(db)
    const held = await Promise.all([db.getConnection(), db.getConnection()])
    const calls = held.map((connection) => connection.query('SELECT SLEEP(30)'))
    const results = Promise.allSettled(calls)
    const running = async (): Promise<boolean> => {
      const threads = await Promise.all(held.map(threadOf))
      return threads.every(([thread]) => thread?.['state'] === 'User sleep')
    }
    await until('both run', FOUND_WITHIN_MS, running)
    await reset('galera', n)
    expect(await within(FOUND_WITHIN_MS, 'end of the calls', results)).toMatchObject([
      { status: 'rejected', reason: { code: 'HA_OUTCOME_UNKNOWN', cause: { code: 'HA_CONNECTION_LOST' } } },
      { status: 'rejected', reason: { code: 'HA_OUTCOME_UNKNOWN', cause: { code: 'HA_CONNECTION_LOST' } } },
    ])
    for (const connection of held) connection.release()
    await increment(db)
    await expect.poll(() => hostOf(db, n).state).toBe('up')
    expect([db.status().availability.failoverCount, writerOf(db), await numberIn(table, 1)]).toEqual([0, n, 11])
  })

  test('flow control: writes wait as long as the cluster makes them, and probes are not caught in it', async () => {
    // A node whose appliers are blocked, and whose sessions would all wait for them.
    await setGlobal(3, 'SET GLOBAL wsrep_sync_wait = 15', 'SET GLOBAL wsrep_sync_wait = 0')
    const limit = (value: number): string => `SET GLOBAL wsrep_provider_options = 'gcs.fc_limit=${value}'`
    await setGlobal(3, limit(1), limit(16))
    const db = await open()
    const n = writerOf(db)
    const failures: unknown[] = []
    db.on('hostDown', (event) => failures.push(event))
    const locker = await connectSql(3, ROOT)
    mends.push(() => {
      locker.destroy()
    })
    await locker.query(`LOCK TABLES ${table} WRITE`)
    const pausedBefore = await counter(1, 'wsrep_flow_control_paused_ns')
    const writes = Array.from({ length: 10 }, () => increment(db))
    const done = Promise.all(writes)
    done.catch(() => undefined)
    const pausedMs = async (): Promise<number> =>
      ((await counter(1, 'wsrep_flow_control_paused_ns')) - pausedBefore) / 1e6
    await until('flow control', FOUND_WITHIN_MS, async () => (await pausedMs()) > 0)
    const asker = await connectSql(3)
    mends.push(() => {
      asker.destroy()
    })
    await expect(within(1000, 'an ordinary session', asker.query('SHOW GLOBAL STATUS'))).rejects.toThrow('not within')
    // Long enough for the writes to be looked up in the process list, twice.
    await until('four seconds of it', FOUND_WITHIN_MS, async () => (await pausedMs()) > 4000)
    await locker.query('UNLOCK TABLES')
    await within(FOUND_WITHIN_MS, 'the writes', done)
    expect([failures, db.status().availability.failoverCount, writerOf(db)]).toEqual([[], 0, n])
    expect(await numberIn(table, 1)).toBe(20)
  })

  test('a server that is full: what it has goes on, the rest waits', async () => {
    const db = await open({ connectionLimit: 6 })
    const n = writerOf(db)
    const [before] = await adminSql(n, 'SELECT @@GLOBAL.max_connections AS value')
    const { total } = hostOf(db, n).connections
    expect(total).toBeGreaterThan(0)
    await setGlobal(n, 'SET GLOBAL max_connections = 10', `SET GLOBAL max_connections = ${String(before?.['value'])}`)
    const fillers = await fill(n)
    const calls = Promise.all(Array.from({ length: 6 }, () => db.query('SELECT SLEEP(0.2) AS done')))
    await within(FOUND_WITHIN_MS, 'the calls', calls)
    expect(hostOf(db, n).lastError).toMatchObject({ errno: 1040 })
    expect([db.status().availability.failoverCount, writerOf(db), hostOf(db, n).state]).toEqual([0, n, 'up'])
    for (const filler of fillers) filler.destroy()
  })

  test('a stall of our own event loop of 3 s, nor does a limit expire in it', async () => {
    const db = await open()
    const n = writerOf(db)
    const events: unknown[] = []
    for (const name of ['hostDown', 'failover', 'outageStart'] as const) db.on(name, (event) => events.push(event))
    const query = db.query({ sql: 'SELECT SLEEP(0.5) AS done', timeoutMs: 2000 })
    const connection = db.getConnection({ timeoutMs: 2000 })
    await sleep(100)
    const stalledUntil = performance.now() + 3000
    while (performance.now() < stalledUntil);
    await expect(query).resolves.toMatchObject([[{ done: 0 }], {}])
    ;(await connection).release()
    await sleep(1500)
    expect([events, writerOf(db)]).toEqual([[], n])
  })

  test('connections that the server ended because they idled', async () => {
    const [before] = await adminSql(1, 'SELECT @@GLOBAL.wait_timeout AS value')
    await setGlobal(1, 'SET GLOBAL wait_timeout = 1', `SET GLOBAL wait_timeout = ${String(before?.['value'])}`)
    // Not even a ping before use: the next statement itself meets what is left of the connection.
    const db = await open({ validateAfterIdleMs: 60_000 })
    expect(writerOf(db)).toBe(1)
    const idle = await db.getConnection()
    await increment(db)
    idle.release()
    await until('the server ended it', FOUND_WITHIN_MS, async () => (await threadOf(idle)).length === 0)
    await increment(db)
    expect([db.status().availability.failoverCount, writerOf(db), await numberIn(table, 1)]).toEqual([0, 1, 12])
  })
})

/** Connections until the server has no room for one more. */
async function fill(n: number): Promise<Awaited<ReturnType<typeof connectSql>>[]> {
  const fillers: Awaited<ReturnType<typeof connectSql>>[] = []
  try {
    for (;;) fillers.push(await connectSql(n))
  } catch (error) {
    expect(error).toMatchObject({ errno: 1040 })
    return fillers
  }
}

describe('a password that is wrong on one node', () => {
  const account = { user: 'ha_odd', password: 'ha_secret' }
  const onlyHere = (password: string): readonly string[] => [
    'SET SESSION wsrep_on = OFF',
    `ALTER USER ${account.user} IDENTIFIED BY '${password}'`,
  ]

  const makeAccount = async (): Promise<void> => {
    mends.push(() => adminSql(1, `DROP USER IF EXISTS ${account.user}`))
    await adminSql(
      1,
      `CREATE OR REPLACE USER ${account.user} IDENTIFIED BY '${account.password}'`,
      `GRANT ALL ON ${SQL_ACCOUNT.database}.* TO ${account.user}`,
    )
  }

  test('keeps that node out, which is said and not tried again at once; the others serve', async () => {
    await makeAccount()
    await adminSql(1, ...onlyHere('another'))
    const db = await open(account)
    expect(writerOf(db)).toBe(2)
    await increment(db)
    expect(hostOf(db, 1)).toMatchObject({ state: 'down', lastError: { errno: 1045 } })
    const refused = await counter(1, 'Access_denied_errors')
    expect(refused).toBeGreaterThan(0)
    await sleep(3000)
    expect(await counter(1, 'Access_denied_errors')).toBe(refused)
  })

  test('that changes while the pool is open: what is connected serves, new connections are not dialled in a loop', async () => {
    await makeAccount()
    const db = await open({ ...account, acquireTimeoutMs: 2500, connectionLimit: 5 })
    expect(writerOf(db)).toBe(1)
    const held = await db.getConnection()
    await adminSql(1, ...onlyHere('another'))
    const refused = await counter(1, 'Access_denied_errors')
    const waiting = await Promise.allSettled(Array.from({ length: 5 }, () => db.getConnection()))
    expect(waiting.map(({ status }) => status)).toContain('rejected')
    const failed = waiting.filter((each) => each.status === 'rejected').map(({ reason }) => reason as unknown)
    for (const error of failed) expect(error).toMatchObject({ code: 'HA_TIMEOUT', phase: 'acquire' })
    expect(failed).toContainEqual(expect.objectContaining({ cause: expect.objectContaining({ errno: 1045 }) as Error }))
    const more = (await counter(1, 'Access_denied_errors')) - refused
    expect(more).toBeGreaterThan(0)
    expect(more).toBeLessThanOrEqual(4)
    await expect(held.query('SELECT 1 AS one')).resolves.toMatchObject([[{ one: 1 }], {}])
    expect(db.status().availability.failoverCount).toBe(0)
    held.release()
    for (const each of waiting) if (each.status === 'fulfilled') each.value.release()
  })
})

test('a node that does not answer is not greeted so often that it would block us for broken handshakes', async () => {
  const db = await open({ connectTimeoutMs: 300, probeTimeoutMs: 150 })
  const n = 3
  const before = await counter(n, 'Aborted_connects')
  let misses = 0
  let last: Error | undefined
  await freeze('galera', n)
  const frozenAt = performance.now()
  await until('eight misses', 60_000, () => {
    const { lastError } = hostOf(db, n)
    if (lastError !== undefined && lastError !== last) misses += 1
    last = lastError
    return misses >= 8
  })
  const seconds = (performance.now() - frozenAt) / 1000
  await thaw('galera', n)
  await whole('galera')
  await until('up again', FOUND_WITHIN_MS, () => hostOf(db, n).state === 'up')
  // One per second, and the two that found it dead; servers block a client after 100 in a row.
  const broken = (await counter(n, 'Aborted_connects')) - before
  expect(broken).toBeGreaterThan(0)
  expect(broken).toBeLessThanOrEqual(seconds + 4)
  expect(HOSTS.length).toBe(db.status().hosts.filter(({ state }) => state === 'up').length)
})
