import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createPool, type MysqlPool, type MysqlPoolOptions } from '../../src/mysql/index.js'
import { sleep, within } from '../harness/timing.js'
import { FakeMysql, type FakeSession } from './fake-mysql.js'

const QUIET = { probeIntervalMs: 200, passiveProbeIntervalMs: 200, probeTimeoutMs: 400, suspectAfterMs: 100 }
const SETTLED_WITHIN_MS = 15_000

const uncaught = vi.fn()
let fakes: FakeMysql[]
let pools: MysqlPool[]
let fake: FakeMysql

beforeEach(async () => {
  process.on('uncaughtException', uncaught)
  process.on('unhandledRejection', uncaught)
  fakes = []
  pools = []
  fake = await server()
})

afterEach(async () => {
  for (const db of pools) db.destroy()
  await Promise.all(fakes.map((each) => each.close()))
  process.off('uncaughtException', uncaught)
  process.off('unhandledRejection', uncaught)
  expect(uncaught).not.toHaveBeenCalled()
  uncaught.mockClear()
})

async function server(): Promise<FakeMysql> {
  const started = await FakeMysql.start()
  fakes.push(started)
  return started
}

function open(options: MysqlPoolOptions = {}): MysqlPool {
  const hosts = fakes.map(({ name }) => name)
  const db = createPool({ env: {}, user: 'u', password: 'p', hosts, ...QUIET, ...options })
  pools.push(db)
  return db
}

async function ready(options: MysqlPoolOptions = {}): Promise<MysqlPool> {
  const db = open(options)
  await db.ready({ timeoutMs: SETTLED_WITHIN_MS })
  return db
}

const settles = <T>(work: Promise<T>): Promise<T> => within(SETTLED_WITHIN_MS, 'the call', work)
const reset = ({ socket }: FakeSession): void => void socket.resetAndDestroy()
const refuse =
  (errno: number, sqlState: string, message = 'refused') =>
  (session: FakeSession): void => {
    if (errno === 1213) session.isInTransaction = false
    session.error(errno, sqlState, message)
  }

describe('a server that is not what it seems', () => {
  test.each<[string, (session: FakeSession) => void]>([
    ['says nothing at all', () => undefined],
    ['greets and then says nothing', (session) => session.greet()],
    ['speaks another protocol', ({ socket }) => void socket.write('SSH-2.0-OpenSSH_9.2p1 Debian\r\n')],
    ['answers the greeting with garbage', (session) => session.send(Buffer.from([0xff, 0xff, 0xff, 0xff, 7, 7]))],
    ['hangs up at once', ({ socket }) => void socket.end()],
    ['is over its limit of connections', (session) => session.error(1040, '08004', 'Too many connections')],
    ['has blocked this client', (session) => session.error(1129, 'HY000', 'Host is blocked')],
  ])('and %s is passed over, and never dialled in a loop', async (_name, act) => {
    const healthy = await server()
    fake.onConnection = (session) => {
      act(session)
      return true
    }
    const db = open({ connectTimeoutMs: 300 })
    const [rows] = await settles(db.query('SELECT 1'))
    expect(rows).toEqual([{ one: '1' }])
    expect(db.status().writer.host).toBe(healthy.name)
    expect(db.status().hosts[0]?.state).toMatch(/down|unknown/)
    const dialsBefore = fake.dials
    await sleep(1000)
    expect(fake.dials - dialsBefore).toBeLessThanOrEqual(5)
    expect(fake.sessions.size).toBeLessThanOrEqual(4)
  })

  test('alone fails its callers with the reason and within their limit', async () => {
    fake.onConnection = (session) => {
      session.greet()
      return true
    }
    const db = open({ connectTimeoutMs: 200, failoverTimeoutMs: 1500 })
    await expect(settles(db.query('SELECT 1'))).rejects.toMatchObject({
      code: 'HA_NO_WRITER',
      hosts: [{ host: fake.name, error: { code: 'HA_TIMEOUT' } }],
    })
  })
})

describe('an answer that breaks off', () => {
  test.each<[string, (session: FakeSession) => void]>([
    ['by reset before it', reset],
    [
      'by reset in the middle of the rows',
      (session) => {
        session.columns(['one'])
        session.row(['1'])
        setTimeout(() => reset(session), 50)
      },
    ],
    [
      'by an orderly end in the middle of a packet',
      ({ socket }) => void socket.end(Buffer.from([0x40, 0, 0, 1, 1, 2, 3])),
    ],
    ['by a packet that makes no sense', (session) => session.send(Buffer.from([0xff]))],
  ])('%s: a read is repeated, a write is unknown, and neither is the writer left', async (_name, breakOff) => {
    const db = await ready()
    fake.once('SELECT 2', breakOff)
    await expect(settles(db.query('SELECT 2'))).resolves.toMatchObject([[{ one: '1' }], {}])
    expect(fake.count('SELECT 2')).toBe(2)
    fake.once('UPDATE', breakOff)
    await expect(settles(db.query('UPDATE t SET n = 1'))).rejects.toMatchObject({
      code: 'HA_OUTCOME_UNKNOWN',
      sqlState: '08007',
      cause: { code: 'HA_CONNECTION_LOST' },
    })
    expect(fake.count('UPDATE')).toBe(1)
    await expect(settles(db.query('SELECT 1'))).resolves.toMatchObject([[{ one: '1' }], {}])
    await expect.poll(() => db.status().hosts[0]?.state).toBe('up')
    expect(db.status()).toMatchObject({ borrowed: 0, waiting: 0, availability: { failoverCount: 0 } })
  })

  test('within transaction() runs the function again, as a whole', async () => {
    const db = await ready()
    fake.once('UPDATE', reset)
    let runs = 0
    await settles(
      db.transaction(async (tx) => {
        runs += 1
        await tx.query('INSERT INTO t VALUES (1)')
        await tx.query('UPDATE t SET n = 1')
      }),
    )
    expect([runs, fake.count('INSERT'), fake.count('COMMIT')]).toEqual([2, 2, 1])
  })
})

describe('an answer that never comes from a server whose probe answers', () => {
  test('ends at the caller’s limit, and the pool is not poisoned', async () => {
    const db = await ready({ connectionLimit: 1 })
    fake.script = (sql) => (sql.startsWith('UPDATE') ? () => undefined : undefined)
    const hung = db.query({ sql: 'UPDATE t SET n = 1', timeoutMs: 300 })
    await expect(settles(hung)).rejects.toMatchObject({ code: 'HA_TIMEOUT', phase: 'operation' })
    await expect(settles(db.query('SELECT 1'))).resolves.toMatchObject([[{ one: '1' }], {}])
    expect(db.status()).toMatchObject({ borrowed: 0, writer: { state: 'serving' } })
  })

  test('does not move the writer', async () => {
    await server()
    const db = await ready()
    const writer = db.status().writer.host
    fake.script = (sql) => (sql.startsWith('UPDATE') ? () => undefined : undefined)
    await expect(settles(db.query({ sql: 'UPDATE t SET n = 1', timeoutMs: 1500 }))).rejects.toMatchObject({
      code: 'HA_TIMEOUT',
    })
    expect(db.status()).toMatchObject({
      writer: { host: writer, state: 'serving' },
      availability: { failoverCount: 0 },
    })
  })
})

describe('COMMIT', () => {
  const commitOnce = async (
    act: (session: FakeSession) => void,
  ): Promise<{ result: Promise<string>; runs: () => number }> => {
    const db = await ready()
    let runs = 0
    fake.once('COMMIT', act)
    const result = settles(
      db.transaction(async (tx) => {
        runs += 1
        await tx.query('UPDATE t SET n = 1')
        return 'done'
      }),
    )
    result.catch(() => undefined)
    return { result, runs: () => runs }
  }

  test.each<[string, (session: FakeSession) => void]>([
    ['is read and its answer lost', ({ socket }) => void socket.destroy()],
    ['is answered by a reset', reset],
    ['is answered by garbage', (session) => session.send(Buffer.from([0xff]))],
    ['is refused because the node is not ready', refuse(1047, '08S01', 'WSREP has not yet prepared node')],
    ['fails in the provider', refuse(1180, 'HY000', 'Got error 5 during COMMIT')],
    ['meets a shutdown', refuse(1053, '08S01')],
    ['meets a KILL of its connection', refuse(1927, '70100')],
    ['meets a KILL of the query', refuse(1317, '70100')],
    ['runs into lost certification', refuse(3100, 'HY000')],
    ['is refused for memory', refuse(1041, 'HY000')],
  ])('that %s is unknown, and the function is not run again', async (_name, act) => {
    const { result, runs } = await commitOnce(act)
    await expect(result).rejects.toMatchObject({ name: 'CommitOutcomeUnknownError', sqlState: '08007' })
    expect([runs(), fake.count('COMMIT')]).toEqual([1, 1])
  })

  test.each<[string, (session: FakeSession) => void]>([
    ['fails certification', refuse(1213, '40001')],
    ['is refused by group replication', refuse(3101, '40000')],
    ['waits too long for a lock', refuse(1205, 'HY000')],
    ['is refused by --read-only', refuse(1290, 'HY000', 'running with the --read-only option')],
    ['is refused in read-only mode', refuse(1836, 'HY000')],
  ])('that %s has not happened, and the function is run again', async (_name, act) => {
    const { result, runs } = await commitOnce(act)
    await expect(result).resolves.toBe('done')
    expect([runs(), fake.count('COMMIT')]).toEqual([2, 2])
  })

  test.each<[string, number, string]>([
    ['of a number that mysql2 has no name for', 64_999, 'HY000'],
    ['of a write set that is too large', 1105, 'HY000'],
    ['of a constraint that is checked late', 1452, '23000'],
  ])('that is refused with an error %s rejects with that error, once', async (_name, errno, sqlState) => {
    const { result, runs } = await commitOnce(refuse(errno, sqlState))
    await expect(result).rejects.toMatchObject({ errno, sqlState })
    expect([runs(), fake.count('COMMIT')]).toEqual([1, 1])
  })

  test('whose answer comes after the limit is unknown at the limit', async () => {
    const db = await ready()
    let late: (() => void) | undefined
    fake.once('COMMIT', (session) => (late = () => session.answer('COMMIT')))
    const result = db.transaction((tx) => tx.query('UPDATE t SET n = 1'), { timeoutMs: 400 })
    await expect(settles(result)).rejects.toMatchObject({
      name: 'CommitOutcomeUnknownError',
      cause: { code: 'HA_TIMEOUT' },
    })
    late?.()
    await expect(settles(db.query('SELECT 1'))).resolves.toMatchObject([[{ one: '1' }], {}])
    await expect.poll(() => db.status().borrowed).toBe(0)
  })

  test('that the function sends by itself is unknown when its answer is lost, whatever the function makes of it', async () => {
    const db = await ready()
    fake.once('COMMIT', reset)
    let runs = 0
    const result = db.transaction(async (tx) => {
      runs += 1
      await tx.query('UPDATE t SET n = 1')
      await tx.query('COMMIT')
    })
    await expect(settles(result)).rejects.toMatchObject({ name: 'CommitOutcomeUnknownError' })
    fake.once('COMMIT', reset)
    const swallowed = db.transaction(async (tx) => {
      runs += 1
      await tx.query('UPDATE t SET n = 1')
      await tx.query('COMMIT').catch(() => undefined)
    })
    await expect(settles(swallowed)).rejects.toMatchObject({ name: 'CommitOutcomeUnknownError' })
    expect([runs, fake.count('COMMIT'), fake.count('UPDATE')]).toEqual([2, 2, 2])
  })
})

describe('a statement', () => {
  type Expected = { readonly again: boolean; readonly code?: string; readonly errno?: number }
  test.each<[number, string, string, Expected]>([
    // Not executed for sure: sent again.
    [1290, 'HY000', 'running with the --read-only option', { again: true }],
    [1836, 'HY000', 'Running in read-only mode', { again: true }],
    [1243, 'HY000', 'Unknown prepared statement handler', { again: true }],
    [1615, 'HY000', 'Prepared statement needs to be re-prepared', { again: true }],
    // Executed or not: unknown.
    [
      1047,
      '08S01',
      'WSREP has not yet prepared node for application use',
      { again: false, code: 'HA_OUTCOME_UNKNOWN' },
    ],
    [1053, '08S01', 'Server shutdown in progress', { again: false, code: 'HA_OUTCOME_UNKNOWN' }],
    [1180, 'HY000', 'Got error during COMMIT', { again: false, code: 'HA_OUTCOME_UNKNOWN' }],
    [1317, '70100', 'Query execution was interrupted', { again: false, code: 'HA_OUTCOME_UNKNOWN' }],
    [1927, '70100', 'Connection was killed', { again: false, code: 'HA_OUTCOME_UNKNOWN' }],
    // The caller's own business.
    [1205, 'HY000', 'Lock wait timeout exceeded', { again: false, errno: 1205 }],
    [1213, '40001', 'Deadlock found', { again: false, errno: 1213 }],
    [1290, 'HY000', 'running with the --secure-file-priv option', { again: false, errno: 1290 }],
    [1969, '70100', 'max_statement_time exceeded', { again: false, errno: 1969 }],
    [64_999, 'HY000', 'mysql2 does not know me', { again: false, errno: 64_999 }],
  ])('in autocommit that is answered with %i (%s, %s)', async (errno, sqlState, message, { again, ...error }) => {
    const db = await ready()
    fake.once('UPDATE', refuse(errno, sqlState, message))
    const result = settles(db.execute('UPDATE t SET n = 1'))
    if (again) await result
    else await expect(result).rejects.toMatchObject(error)
    expect(fake.count('UPDATE')).toBe(again ? 2 : 1)
    await expect(settles(db.query('SELECT 1'))).resolves.toMatchObject([[{ one: '1' }], {}])
    await expect.poll(() => db.status().borrowed).toBe(0)
  })

  test.each<[number, string, string, boolean]>([
    [1047, '08S01', 'WSREP has not yet prepared node for application use', true],
    [1213, '40001', 'Deadlock found', true],
    [1205, 'HY000', 'Lock wait timeout exceeded', true],
    [1180, 'HY000', 'Got error during COMMIT', true],
    [1290, 'HY000', 'running with the --read-only option', true],
    [1836, 'HY000', 'Running in read-only mode', true],
    [1053, '08S01', 'Server shutdown in progress', true],
    [1927, '70100', 'Connection was killed', true],
    [1615, 'HY000', 'Prepared statement needs to be re-prepared', true],
    [9001, 'HY000', 'Max connect timeout reached while reaching hostgroup', true],
    [1317, '70100', 'Query execution was interrupted', false],
    [1062, '23000', 'Duplicate entry', false],
    [64_999, 'HY000', 'mysql2 does not know me', false],
  ])('in transaction() that is answered with %i (%s, %s): run again %s', async (errno, sqlState, message, again) => {
    const db = await ready({ retryIntervalMs: 10 })
    fake.once('UPDATE', refuse(errno, sqlState, message))
    let runs = 0
    const result = settles(
      db.transaction(async (tx) => {
        runs += 1
        await tx.query('UPDATE t SET n = 1')
      }),
    )
    if (again) await result
    else await expect(result).rejects.toMatchObject({ errno, sqlState })
    expect([runs, fake.count('COMMIT')]).toEqual(again ? [2, 1] : [1, 0])
    await expect.poll(() => db.status().borrowed).toBe(0)
  })

  test.each([1040, 1203, 1226])('waits for a connection, on the same node, while the server says %i', async (errno) => {
    await server()
    const db = await ready()
    const held = [await db.getConnection()]
    let refused = 0
    fake.onConnection = (session) => {
      if (refused >= 3) return false
      refused += 1
      session.error(errno, errno === 1040 ? '08004' : '42000', 'Too many connections')
      session.socket.end()
      return true
    }
    // One that was dialled before may still be there.
    while (refused < 3 && held.length < 5) held.push(await settles(db.getConnection()))
    expect(refused).toBe(3)
    expect(new Set(held.map(({ host }) => host))).toEqual(new Set([fake.name]))
    expect(db.status().availability.failoverCount).toBe(0)
    for (const connection of held) connection.release()
  })
})
