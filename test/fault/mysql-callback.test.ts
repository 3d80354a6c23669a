/** The callback face of the pool where a real server cannot be made to show the fault. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  ConnectionLostError,
  createPool,
  type CallbackConnection,
  type MysqlPool,
  TransactionEndedError,
} from '../../src/mysql/index.js'
import { watchUnhandled, within } from '../harness/index.js'
import { FakeMysql } from './fake-mysql.js'

const SETTLED_WITHIN_MS = 10_000

let fake: FakeMysql
let db: MysqlPool
beforeEach(async () => {
  fake = await FakeMysql.start()
  db = createPool({ env: {}, hosts: [fake.name], user: 'a', password: 'b', database: 'c' })
  await db.ready()
})
afterEach(async () => {
  await db.close({ timeoutMs: 500 })
  await fake.close()
})

const settles = <T>(work: Promise<T>): Promise<T> => within(SETTLED_WITHIN_MS, 'the call', work)

function checkOut(): Promise<CallbackConnection> {
  return new Promise((resolve, reject) => {
    db.callbackPool.getConnection((error, connection) => (error === null ? resolve(connection) : reject(error)))
  })
}

function ask(connection: CallbackConnection, sql: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    connection.query(sql, (error, result) => (error === null ? resolve(result) : reject(error)))
  })
}

const reset = ({ socket }: { socket: { resetAndDestroy: () => unknown } }): void => void socket.resetAndDestroy()

describe('a connection with callbacks', () => {
  test('that is lost tells everything that waits on it, and rolls back without an error', async () => {
    const connection = await checkOut()
    const ended: unknown[] = []
    connection.on('error', (error) => ended.push(error))
    fake.once('UPDATE', reset)
    const lost = ask(connection, 'UPDATE a SET n = 1')
    const waiting = ask(connection, 'SELECT 1')
    await expect(settles(lost)).rejects.toMatchObject({ code: 'HA_OUTCOME_UNKNOWN' })
    await expect(settles(waiting)).rejects.toBeInstanceOf(ConnectionLostError)
    await settles(ask(connection, 'rollback'))
    await settles(ask(connection, 'ROLLBACK;'))
    expect(ended).toHaveLength(1)
    connection.release()
    await expect(settles(ask(await checkOut(), 'SELECT 1'))).resolves.toEqual([{ one: '1' }])
  })

  test('fails a stream in the middle of its rows', async () => {
    fake.once('SELECT 2', (session) => {
      session.columns(['one'])
      session.row(['1'])
      session.socket.write('', () => session.socket.resetAndDestroy())
    })
    const read = async (): Promise<void> => {
      for await (const row of db.callbackPool.query('SELECT 2').stream()) expect(row).toBeDefined()
    }
    await expect(settles(read())).rejects.toBeInstanceOf(ConnectionLostError)
  })

  test('drops an error that nobody listens for', async () => {
    const unhandled = watchUnhandled()
    fake.once('SELECT 3', (session) => session.error(1064, '42000', 'no'))
    const connection = await checkOut()
    connection.query('SELECT 3')
    await settles(ask(connection, 'SELECT 1'))
    connection.release()
    await new Promise(setImmediate)
    expect(unhandled.errors).toEqual([])
    unhandled.stop()
  })

  test('is given back only when what it was asked is done', async () => {
    const connection = await checkOut()
    let answer: () => void = () => undefined
    const asked = new Promise<void>((resolve) => {
      fake.once('SELECT 4', (session) => {
        answer = () => session.answer('SELECT 4')
        resolve()
      })
    })
    const slow = ask(connection, 'SELECT 4')
    connection.release()
    await asked
    expect(db.status().borrowed).toBe(1)
    answer()
    await expect(settles(slow)).resolves.toEqual([{ one: '1' }])
    await expect(settles(ask(connection, 'SELECT 1'))).rejects.toMatchObject({ code: 'HA_CLOSED' })
    expect(db.status().borrowed).toBe(0)
  })
})

describe('the event connection', () => {
  test('sets up each connection before its first use, whoever uses it', async () => {
    db.callbackPool.on('connection', (connection) => connection.query('SET @mine = 1'))
    const before = fake.count('SET @mine')
    await settles(db.query('SELECT 5'))
    await settles(db.query('SELECT 6'))
    expect(fake.count('SET @mine') - before).toBe(1)
    expect(fake.statements.indexOf('SET @mine = 1')).toBeLessThan(fake.statements.indexOf('SELECT 5'))
  })
})

describe('a listener of the event connection', () => {
  test('may ask for several things, which all run before what the borrower asks', async () => {
    db.callbackPool.on('connection', (connection) => {
      connection.query('SET @a = 1')
      connection.query('SET @b = 2')
    })
    for (let i = 0; i < 3; i += 1) await settles(db.query('UPDATE a SET n = 1'))
    const asked = fake.statements.filter((sql) => /^(SET @|UPDATE)/.test(sql))
    expect(asked).toEqual(['SET @a = 1', 'SET @b = 2', ...Array<string>(3).fill('UPDATE a SET n = 1')])
  })

  test('is refused what it asks later, when the connection is somebody else’s', async () => {
    const unhandled = watchUnhandled()
    const refused = new Promise((resolve) => {
      const setUp = async (connection: CallbackConnection): Promise<void> => {
        const session = connection.promise()
        await session.query('SET @a = 1')
        await session.query('SET @late = 1').catch((error: unknown) => {
          resolve(error)
          throw error
        })
      }
      db.callbackPool.on('connection', setUp as never)
    })
    await settles(db.transaction((tx) => tx.query('UPDATE a SET n = 1')))
    await expect(settles(refused)).resolves.toMatchObject({ code: 'HA_CLOSED' })
    await new Promise(setImmediate)
    expect(fake.count('SET @late')).toBe(0)
    expect(unhandled.errors).toEqual([])
    unhandled.stop()
  })

  test('that throws harms nobody', async () => {
    for (const event of ['connection', 'acquire', 'release', 'enqueue']) {
      db.callbackPool.on(event, () => {
        throw new Error('on purpose')
      })
    }
    const connections = await settles(Promise.all(Array.from({ length: 10 }, checkOut)))
    const late = checkOut()
    for (const connection of connections) connection.release()
    ;(await settles(late)).release()
    expect(db.status().borrowed).toBe(0)
  })
})

describe('a connection that was given back', () => {
  test('finishes a slow write that nobody waits for', async () => {
    const connection = await checkOut()
    let answer: () => void = () => undefined
    fake.once('UPDATE slow', (session) => void (answer = () => session.ok()))
    const ended = new Promise((resolve) => connection.query('UPDATE slow').on('end', () => resolve('ended')))
    connection.release()
    await vi.waitFor(() => expect(fake.count('UPDATE slow')).toBe(1))
    // Longer than a reader may take for nothing.
    await new Promise((resolve) => setTimeout(resolve, 6000))
    expect(db.status().borrowed).toBe(1)
    answer()
    await expect(settles(ended)).resolves.toBe('ended')
    expect(fake.count('KILL')).toBe(0)
  })

  test('gives a slow reader all of its rows', async () => {
    const connection = await checkOut()
    fake.once('SELECT 8', (session) => {
      session.rows(['one'], Array<string[]>(100).fill(['1']))
    })
    const stream = connection.query('SELECT 8').stream({ highWaterMark: 2 })
    connection.release()
    let count = 0
    for await (const row of stream) {
      expect(row).toBeDefined()
      count += 1
      if (count % 25 === 0) await new Promise((resolve) => setTimeout(resolve, 700))
    }
    expect(count).toBe(100)
  })
})

describe('a BEGIN whose answer was lost', () => {
  test.each(['START TRANSACTION', 'begin', 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED'])(
    'has done nothing: %s',
    async (sql) => {
      const connection = await checkOut()
      fake.once(sql, reset)
      await expect(settles(ask(connection, sql))).rejects.toBeInstanceOf(ConnectionLostError)
      connection.release()
    },
  )
})

describe('a reader that stops in the middle', () => {
  test('fails, and keeps what comes next within its transaction from running for a while only', async () => {
    fake.once('SELECT 9', (session) => {
      session.rows(['one'], Array<string[]>(50).fill(['1']))
    })
    const failed = await settles(
      db.transaction(async ({ connection }) => {
        await ask(connection, 'UPDATE a SET n = 1')
        const stream = connection.query('SELECT 9').stream({ highWaterMark: 2 })
        const error = new Promise<Error>((resolve) => stream.on('error', resolve))
        for await (const row of stream.iterator({ destroyOnReturn: false })) {
          expect(row).toBeDefined()
          break
        }
        await ask(connection, 'UPDATE a SET n = 2')
        return error
      }),
    )
    expect(failed).toMatchObject({ code: 'HA_TIMEOUT' })
    expect(fake.statements.filter((sql) => /UPDATE|COMMIT/.test(sql))).toEqual(['UPDATE a SET n = 1', 'UPDATE a SET n = 2', 'COMMIT']) // prettier-ignore
  })

  test('does not keep the connection for ever', async () => {
    const connection = await checkOut()
    fake.once('SELECT 7', (session) => {
      session.columns(['one'])
      for (let i = 0; i < 1000; i += 1) session.row(['1'])
    })
    const stream = connection.query('SELECT 7').stream({ highWaterMark: 2 })
    for await (const row of stream.iterator({ destroyOnReturn: false })) {
      expect(row).toBeDefined()
      break
    }
    connection.end()
    await vi.waitFor(() => expect(db.status().borrowed).toBe(0), { timeout: SETTLED_WITHIN_MS })
  })
})

describe('the connection of a transaction', () => {
  test('sends neither BEGIN nor COMMIT of its user', async () => {
    await settles(
      db.transaction(async ({ connection }) => {
        await ask(connection, 'BEGIN;')
        await ask(connection, 'UPDATE a SET n = 1')
        await ask(connection, 'COMMIT')
        expect(fake.count('COMMIT')).toBe(0)
      }),
    )
    expect(fake.count('BEGIN')).toBe(0)
    expect(fake.count('START TRANSACTION')).toBe(1)
    expect(fake.count('COMMIT')).toBe(1)
  })

  test('ends it by a ROLLBACK', async () => {
    const work = db.transaction(async ({ connection }) => {
      await ask(connection, 'UPDATE a SET n = 1')
      await ask(connection, 'rollback')
    })
    await expect(settles(work)).rejects.toBeInstanceOf(TransactionEndedError)
    expect(fake.count('COMMIT')).toBe(0)
  })

  test.each<[string, number, string]>([
    ['a deadlock', 1213, '40001'],
    ['a lock wait time-out', 1205, 'HY000'],
  ])('has the function run again after %s, whatever its user makes of the error', async (_name, errno, state) => {
    fake.once('UPDATE', (session) => {
      if (errno === 1213) session.isInTransaction = false
      session.error(errno, state, 'no')
    })
    let runs = 0
    const work = db.transaction(async ({ connection }) => {
      runs += 1
      await ask(connection, 'begin')
      try {
        await ask(connection, 'UPDATE a SET n = 1')
        await ask(connection, 'commit')
      } catch (driverError) {
        await ask(connection, 'rollback')
        throw Object.assign(new Error('as some ORM puts it'), { driverError })
      }
    })
    await settles(work)
    expect(runs).toBe(2)
  })

  test('keeps the error of a deadlock inside a savepoint, and has the function run again', async () => {
    fake.once('UPDATE', (session) => {
      session.isInTransaction = false
      session.error(1213, '40001', 'no')
    })
    let runs = 0
    await settles(
      db.transaction(async ({ connection }) => {
        runs += 1
        await ask(connection, 'savepoint sp1')
        try {
          await ask(connection, 'UPDATE a SET n = 1')
        } catch (error) {
          await ask(connection, 'rollback to savepoint sp1')
          throw error
        }
      }),
    )
    expect(runs).toBe(2)
  })

  test.each([1317, 1615])('rolls back to a savepoint after error %i, which leaves it there', async (errno) => {
    fake.once('UPDATE', (session) => session.error(errno, errno === 1317 ? '70100' : 'HY000', 'no'))
    await settles(
      db.transaction(async ({ connection }) => {
        await ask(connection, 'savepoint sp1')
        await ask(connection, 'UPDATE a SET n = 1').catch(() => undefined)
        await ask(connection, 'rollback to savepoint sp1')
      }),
    )
    expect(fake.count('rollback to savepoint sp1')).toBe(1)
  })

  test('commits all that was asked before, whoever waits for it', async () => {
    const all = ['INSERT 1', 'INSERT 2', 'INSERT 3']
    const sent = (): readonly string[] => fake.statements.filter((sql) => /INSERT|COMMIT/.test(sql))
    await settles(
      db.transaction(async ({ connection }) => {
        for (const sql of all) connection.query(sql, () => undefined)
        await new Promise<void>((resolve, reject) => {
          connection.commit((error: Error | null) => (error === null ? resolve() : reject(error)))
        })
        expect(sent()).toEqual(all)
      }),
    )
    expect(sent()).toEqual([...all, 'COMMIT'])
    await settles(
      db.transaction(({ connection }) => {
        for (const sql of all) connection.query(sql, () => undefined)
        return Promise.resolve()
      }),
    )
    expect(sent()).toEqual([...all, 'COMMIT', ...all, 'COMMIT'])
  })

  test('that is kept cannot cut the next borrower’s', async () => {
    const kept = await settles(
      db.transaction(async ({ connection }) => {
        await ask(connection, 'UPDATE a SET n = 1')
        return connection.promise()
      }),
    )
    const slow = db.query('UPDATE slow')
    kept.destroy()
    await settles(slow)
  })

  test('of a run that failed does nothing within the next run', async () => {
    fake.once('UPDATE', (session) => {
      session.isInTransaction = false
      session.error(1213, '40001', 'no')
    })
    let first: CallbackConnection | undefined
    await settles(
      db.transaction(async ({ connection }) => {
        if (first === undefined) {
          first = connection
          await ask(connection, 'UPDATE a SET n = 1')
        }
        await ask(connection, 'UPDATE a SET n = 2')
        await expect(ask(first, 'INSERT late')).rejects.toMatchObject({ code: 'HA_CLOSED' })
      }),
    )
    expect(fake.count('INSERT late')).toBe(0)
  })

  test('is of no use when the transaction has ended', async () => {
    const kept = await settles(
      db.transaction(async ({ connection }) => {
        await ask(connection, 'UPDATE a SET n = 1')
        return connection
      }),
    )
    await expect(settles(ask(kept, 'UPDATE a SET n = 2'))).rejects.toMatchObject({ code: 'HA_CLOSED' })
    expect(fake.count('UPDATE a SET n = 2')).toBe(0)
  })
})
