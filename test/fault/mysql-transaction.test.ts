import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createPool, TransactionEndedError, type MysqlPool, type Transaction } from '../../src/mysql/index.js'
import { within } from '../harness/timing.js'
import { FakeMysql, type FakeSession } from './fake-mysql.js'

const SETTLED_WITHIN_MS = 15_000

let fake: FakeMysql
let db: MysqlPool

beforeEach(async () => {
  fake = await FakeMysql.start()
  db = createPool({
    env: {},
    hosts: [fake.name],
    user: 'u',
    password: 'p',
    connectionLimit: 1,
    multipleStatements: true,
  })
  await db.ready({ timeoutMs: SETTLED_WITHIN_MS })
  fake.statements.length = 0
})

afterEach(async () => {
  db.destroy()
  await fake.close()
})

const settles = <T>(work: Promise<T>): Promise<T> => within(SETTLED_WITHIN_MS, 'the call', work)

/** The first statement that begins like this fails; `isOpen` is whether a transaction is open then. */
function failOnce(start: string, errno: number, isOpen: boolean): void {
  let isDone = false
  fake.script = (sql, session) => {
    if (isDone || !sql.startsWith(start)) return undefined
    isDone = true
    return () => {
      session.isInTransaction = isOpen
      session.error(errno, 'HY000', 'refused')
    }
  }
}

/** What the server was asked, without the probe's settings. */
const asked = (): readonly string[] => fake.statements.filter((sql) => !/^(SHOW|SET SESSION)/.test(sql))

describe('a connection that comes back', () => {
  test.each([
    'CALL transfer()',
    'START TRANSACTION; INSERT INTO a VALUES (1)',
    'BEGIN NOT ATOMIC INSERT INTO a VALUES (1); END',
  ])('after %s has failed takes no transaction to the next caller', async (sql) => {
    failOnce(sql, 1644, true)
    await expect(settles(db.query(sql))).rejects.toMatchObject({ errno: 1644 })
    await settles(db.query('INSERT INTO audit VALUES (1)'))
    expect(asked()).toEqual([sql, 'ROLLBACK', 'INSERT INTO audit VALUES (1)'])
  })

  test('after an ordinary error costs no round trip', async () => {
    failOnce('INSERT', 1062, false)
    await expect(settles(db.query('INSERT INTO a VALUES (1)'))).rejects.toMatchObject({ errno: 1062 })
    await settles(db.query('SELECT 1'))
    expect(asked()).toEqual(['INSERT INTO a VALUES (1)', 'SELECT 1'])
  })

  test('after a transaction that was begun in one text with a SELECT is rolled back', async () => {
    fake.script = (sql, session) =>
      sql.startsWith('START TRANSACTION; SELECT') ? () => beginAndSelect(session) : undefined
    const connection = await db.getConnection()
    await settles(connection.query('START TRANSACTION; SELECT 1'))
    connection.release()
    await settles(db.query('INSERT INTO audit VALUES (1)'))
    expect(asked().slice(1)).toEqual(['ROLLBACK', 'INSERT INTO audit VALUES (1)'])
  })
})

describe('a statement on a connection that has died', () => {
  test('was not sent, which is said, and is not unknown', async () => {
    const connection = await db.getConnection()
    for (const { socket } of fake.sessions) socket.resetAndDestroy()
    await vi.waitFor(() => expect(db.status().hosts[0]?.lastError).toBeDefined())
    // Both connections were reset at once: the other's news is in the same poll phase, or the next.
    for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve))
    for (const sql of ['INSERT INTO t VALUES (1)', 'COMMIT']) {
      await expect(settles(connection.query(sql))).rejects.toMatchObject({
        code: 'HA_CONNECTION_LOST',
        safeToRetry: true,
      })
    }
    connection.release()
    expect(fake.count('INSERT')).toBe(0)
  })
})

describe('the function of a transaction', () => {
  const twoSteps = (second: string) => async (tx: Transaction) => {
    await tx.query('UPDATE a SET n = 1')
    await tx.query(second)
    await tx.query('UPDATE b SET n = 1')
  }

  test.each([
    'START TRANSACTION',
    'begin',
    '/* new */ BEGIN',
    'COMMIT AND CHAIN',
    'ROLLBACK AND NO CHAIN; BEGIN',
    'ROLLBACK; START TRANSACTION',
    'XA START "x"',
  ])('that asks for %s is refused, and not run again', async (sql) => {
    await expect(settles(db.transaction(twoSteps(sql)))).rejects.toBeInstanceOf(TransactionEndedError)
    await vi.waitFor(() => expect(asked()).toEqual(['START TRANSACTION', 'UPDATE a SET n = 1', 'ROLLBACK']))
  })

  test.each(["INSERT INTO t VALUES ('begin')", 'SELECT `begin` FROM t', 'ROLLBACK TO SAVEPOINT start'])(
    'may ask for %s',
    async (sql) => {
      fake.script = (text, session) => (text === sql ? () => session.ok() : undefined)
      await settles(db.transaction(twoSteps(sql)))
      expect(fake.count('COMMIT')).toBe(1)
    },
  )

  test.each([1205, 1213])('whose DDL fails with %i is not run again: it may have committed before', async (errno) => {
    failOnce('ALTER', errno, errno === 1205)
    await expect(settles(db.transaction(twoSteps('ALTER TABLE a ADD x INT')))).rejects.toMatchObject({ errno })
    expect([fake.count('UPDATE a'), fake.count('COMMIT')]).toEqual([1, 0])
  })

  test('leaves nothing behind that runs after its COMMIT', async () => {
    let stray: Promise<unknown> | undefined
    let kept: Transaction | undefined
    fake.script = (sql, session) => {
      if (sql !== 'COMMIT') return undefined
      return () => {
        stray = kept?.query('UPDATE stray SET n = 1').catch((error: unknown) => error)
        session.answer(sql)
      }
    }
    await settles(
      db.transaction(async (tx) => {
        kept = tx
        await tx.query('UPDATE a SET n = 1')
      }),
    )
    await expect(settles(Promise.resolve(stray))).resolves.toBeInstanceOf(TransactionEndedError)
    expect(fake.count('UPDATE stray')).toBe(0)
  })

  test('that only reads is done when the answer to its COMMIT is lost', async () => {
    fake.script = (sql, { socket }) => (sql === 'COMMIT' ? () => void socket.resetAndDestroy() : undefined)
    await expect(settles(db.transaction(() => Promise.resolve('read'), { readOnly: true }))).resolves.toBe('read')
  })
})

describe('the BEGIN of a transaction', () => {
  test.each<[string, (tx: Transaction) => Promise<unknown>]>([
    ['an UPDATE', (tx) => tx.query('UPDATE a SET n = 1')],
    ['a CALL', (tx) => tx.query('CALL p()')],
    ['a prepared SELECT', (tx) => tx.execute('SELECT 1')],
    ['a stream', (tx) => tx.stream('SELECT 1').toArray()],
  ])('that is lost before %s has it run again', async (_what, body) => {
    fake.once('START TRANSACTION', ({ socket }) => void socket.resetAndDestroy())
    let runs = 0
    await settles(db.transaction((tx) => ((runs += 1), body(tx))))
    expect([runs, fake.count('COMMIT')]).toEqual([2, 1])
  })

  test('that the server does not heed lets nothing run', async () => {
    fake.once('START TRANSACTION', (session) => session.ok())
    const body = (tx: Transaction): Promise<unknown> => tx.query('UPDATE a SET n = 1')
    await expect(settles(db.transaction(body))).rejects.toBeInstanceOf(TransactionEndedError)
    expect(fake.count('UPDATE')).toBe(0)
  })

  test('is within the limit of the statement that it is for', async () => {
    fake.script = (sql, session) => {
      if (sql === 'START TRANSACTION') return () => void setTimeout(() => session.answer(sql), 1500)
      return sql.startsWith('UPDATE') ? () => undefined : undefined
    }
    const startedAt = performance.now()
    const body = (tx: Transaction): Promise<unknown> => tx.query({ sql: 'UPDATE a SET n = 1', timeoutMs: 2000 })
    await expect(settles(db.transaction(body))).rejects.toMatchObject({ code: 'HA_TIMEOUT' })
    // Each on its own would be 3500.
    expect(performance.now() - startedAt).toBeLessThan(3200)
  })

  test('is run again when the answer is lost, and is not unknown', async () => {
    let runs = 0
    fake.once('START TRANSACTION', ({ socket }) => void socket.resetAndDestroy())
    await settles(db.transaction((tx) => ((runs += 1), tx.query('UPDATE a SET n = 1'))))
    expect([runs, fake.count('UPDATE'), fake.count('COMMIT')]).toEqual([2, 1, 1])
  })

  test('comes with the first statement that is not given up before', async () => {
    await settles(
      db.transaction(async (tx) => {
        const signal = AbortSignal.abort(new Error('not wanted'))
        await expect(tx.query({ sql: 'UPDATE a SET n = 1', signal })).rejects.toThrow('not wanted')
        await expect(tx.stream({ sql: 'SELECT 1', signal }).toArray()).rejects.toThrow('not wanted')
        await tx.query('UPDATE b SET n = 1')
      }),
    )
    expect(asked()).toEqual(['START TRANSACTION', 'UPDATE b SET n = 1', 'COMMIT'])
  })
})

test('reads and writes of one node wait in one line', async () => {
  let isOver = false
  const write = async (): Promise<void> => {
    while (!isOver) await db.query('INSERT INTO t VALUES (1)')
  }
  const writers = Promise.all(Array.from({ length: 4 }, write))
  try {
    await settles(db.reader.query('SELECT 1'))
  } finally {
    isOver = true
    await settles(writers)
  }
})

test('a packet that is too large is an error of its statement, and not of its node', async () => {
  let runs = 0
  failOnce('INSERT', 1153, true)
  const body = (tx: Transaction): Promise<unknown> => {
    runs += 1
    return tx.query('INSERT INTO t VALUES (1)')
  }
  await expect(settles(db.transaction(body))).rejects.toMatchObject({ errno: 1153 })
  expect(runs).toBe(1)
})

/** Three packets that end with rows. */
function beginAndSelect(session: FakeSession): void {
  session.isInTransaction = true
  session.okThen()
  session.rows(['one'], [['1']])
}
