/**
 * What mysql2 documents of its pool, done with mysql2's pool and with ours on the same node. The answers must be the same,
 * but for the differences of docs/mysql2-differences.md.
 */
import { readFileSync } from 'node:fs'
import mysql, { type Pool, type PoolConnection } from 'mysql2'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createPool, type MysqlPool } from '../../../src/mysql/index.js'
import { nodes, whole } from '../../cluster/index.js'
import { SQL_ACCOUNT, within } from '../../harness/index.js'

const host = nodes('galera')[0]?.host ?? ''
const OPTIONS = { ...SQL_ACCOUNT, connectionLimit: 2, timezone: 'Z', dateStrings: true } as const
const TABLE = `conformance_${process.pid}`
const LIMIT_MS = 20_000

/** What one behaviour comes to with mysql2 and with ours, where they differ on purpose. */
interface Difference {
  readonly mysql2: unknown
  readonly ours: unknown
}

type Behaviour = (pool: Pool) => Promise<unknown>

const ask = (on: Pool | PoolConnection, sql: string, values: unknown[] = []): Promise<unknown> =>
  new Promise((resolve, reject) => {
    on.query(sql, values, (error, result) => (error === null ? resolve(plain(result)) : reject(error)))
  })

const checkOut = (pool: Pool): Promise<PoolConnection> =>
  new Promise((resolve, reject) => {
    pool.getConnection((error, connection) => (error === null ? resolve(connection) : reject(error)))
  })

const told = (start: (done: (error?: Error | null) => void) => void): Promise<string> =>
  new Promise((resolve) => start((error) => resolve(error === null || error === undefined ? 'ok' : codeOf(error))))

const codeOf = (error: unknown): string => String((error as { code?: unknown }).code)

const shapeOf = (error: unknown): object => {
  const { code, errno, sqlState, sqlMessage, sql, message } = error as Record<string, unknown>
  return { code, errno, sqlState, sqlMessage, sql, message }
}

/** Without what differs by chance. */
function plain(result: unknown): unknown {
  if (Array.isArray(result))
    return result.map((row: object) => (Array.isArray(row) ? [...(row as unknown[])] : { ...row }))
  const { affectedRows, changedRows, info, warningStatus } = result as Record<string, unknown>
  return { affectedRows, changedRows, info, warningStatus, hasId: typeof (result as { insertId?: unknown }).insertId }
}

const BEHAVIOURS: Readonly<Record<string, Behaviour>> = {
  'query with a callback': (pool) => ask(pool, 'SELECT 1 AS one, NULL AS none, 2.50 AS money'),
  'query with values': (pool) => ask(pool, 'SELECT ? AS a, ? AS b', [1, "it's"]),
  'query in object form, rows as arrays': (pool) =>
    new Promise((resolve, reject) => {
      pool.query({ sql: 'SELECT ? AS a, ? AS b', values: [1, 2], rowsAsArray: true }, (error, rows) =>
        error === null ? resolve(rows) : reject(error),
      )
    }),
  'query in object form, values apart': (pool) =>
    new Promise((resolve, reject) => {
      pool.query({ sql: 'SELECT ? AS a' }, [7], (error, rows) =>
        error === null ? resolve(plain(rows)) : reject(error),
      )
    }),
  nestTables: (pool) =>
    new Promise((resolve, reject) => {
      const sql = `SELECT t.id, u.id FROM ${TABLE} t JOIN ${TABLE} u USING (id) LIMIT 1`
      pool.query({ sql, nestTables: true }, (error, rows) =>
        error === null ? resolve(Object.keys((rows as object[])[0] ?? {})) : reject(error),
      )
    }),
  'the names of fields': (pool) =>
    new Promise((resolve, reject) => {
      pool.query('SELECT 1 AS a, 2 AS b', (error, _rows, fields) =>
        error === null ? resolve(fields.map(({ name }) => name)) : reject(error),
      )
    }),
  typeCast: (pool) =>
    new Promise((resolve, reject) => {
      const typeCast = (field: { string: () => string | null }): string => `<${field.string() ?? ''}>`
      pool.query({ sql: 'SELECT 1 AS a', typeCast: typeCast as never }, (error, rows) =>
        error === null ? resolve(plain(rows)) : reject(error),
      )
    }),
  execute: (pool) =>
    new Promise((resolve, reject) => {
      pool.execute('SELECT ? + 1 AS sum', [41], (error, rows) =>
        error === null ? resolve(plain(rows)) : reject(error),
      )
    }),
  'the header of an insert of several rows': async (pool) => {
    const sql = `INSERT INTO ${TABLE} (text) VALUES ?`
    return ask(pool, sql, [[['a'], ['b'], ['c']]])
  },
  'the header of an update': async (pool) => ask(pool, `UPDATE ${TABLE} SET text = 'x' WHERE text = 'nobody'`),
  'several statements in one text': (pool) => ask(pool, 'SELECT 1; SELECT 2').catch(codeOf),
  'an error of the server': (pool) => ask(pool, 'SELECT * FROM missing').catch(shapeOf),
  'an error within execute': (pool) => told((done) => pool.execute('SELECT * FROM missing', done as never)),
  'format, escape, escapeId': (pool) =>
    Promise.resolve([
      pool.format('SELECT ?? FROM t WHERE a = ? AND b IN (?)', ['a.b', "it's", [1, 2]]),
      pool.escape(new Date(0)),
      pool.escape({ a: 1 }),
      pool.escapeId(['a', 'b.c']),
    ]),
  'the connection is the same object when it is checked out again': async (pool) => {
    const first = await checkOut(pool)
    first.release()
    const again = await checkOut(pool)
    again.release()
    return first === again
  },
  'events of a checkout': async (pool) => {
    const seen: string[] = []
    for (const name of ['connection', 'acquire', 'release'] as const) pool.on(name, () => seen.push(name))
    for (let i = 0; i < 2; i += 1) (await checkOut(pool)).release()
    await new Promise(setImmediate)
    return seen
  },
  'a listener of connection sets the session up': async (pool) => {
    pool.on('connection', (connection) => connection.query('SET @mine = 5'))
    const connection = await checkOut(pool)
    const rows = await ask(connection, 'SELECT @mine AS mine')
    connection.release()
    return rows
  },
  'enqueue when all connections are taken': async (pool) => {
    const taken = [await checkOut(pool), await checkOut(pool)]
    let count = 0
    pool.on('enqueue', () => (count += 1))
    const waiting = checkOut(pool)
    await new Promise(setImmediate)
    for (const each of taken) each.release()
    ;(await waiting).release()
    return count
  },
  'a second release does nothing': async (pool) => {
    const connection = await checkOut(pool)
    connection.release()
    connection.release()
    const two = await Promise.all([checkOut(pool), checkOut(pool)])
    for (const each of two) each.release()
    return two[0] !== two[1]
  },
  'a destroyed connection is replaced': async (pool) => {
    const first = await checkOut(pool)
    const { threadId } = first
    first.destroy()
    const next = await checkOut(pool)
    const isOther = next.threadId !== threadId
    next.release()
    return isOther
  },
  'statements of one connection run in their order without waiting': async (pool) => {
    const connection = await checkOut(pool)
    const seen: unknown[] = []
    const note = (name: string) => (error: unknown) => void seen.push(error === null ? name : codeOf(error))
    connection.beginTransaction(note('begin'))
    connection.query(`INSERT INTO ${TABLE} (text) VALUES ('in order')`, note('insert'))
    connection.query('SELECT nonsense', note('select'))
    const end = told((done) => connection.rollback(done))
    seen.push(await end)
    seen.push(await ask(connection, `SELECT COUNT(*) AS n FROM ${TABLE} WHERE text = 'in order'`))
    connection.release()
    return seen
  },
  commit: async (pool) => {
    const connection = await checkOut(pool)
    const seen = [
      await told((done) => connection.beginTransaction(done)),
      await told((done) => connection.query(`INSERT INTO ${TABLE} (text) VALUES ('kept')`, done as never)),
      await told((done) => connection.commit(done)),
    ]
    connection.release()
    return [seen, await ask(pool, `DELETE FROM ${TABLE} WHERE text = 'kept'`)]
  },
  'release while a statement runs': async (pool) => {
    const connection = await checkOut(pool)
    const slow = ask(connection, 'SELECT SLEEP(0.2) AS slept')
    connection.release()
    return slow
  },
  'events of a statement without a callback': (pool) =>
    new Promise((resolve) => {
      const seen: unknown[] = []
      pool
        .query('SELECT 1 AS a UNION SELECT 2')
        .on('fields', (fields) => seen.push((fields as unknown as { name: string }[]).map(({ name }) => name)))
        .on('result', (row) => seen.push({ ...row }))
        .on('end', () => resolve(seen))
    }),
  'the event error of a statement without a callback': (pool) =>
    new Promise((resolve) => {
      pool.query('SELECT * FROM missing').on('error', (error: Error) => resolve(codeOf(error)))
    }),
  'a stream': async (pool) => {
    const rows: unknown[] = []
    for await (const row of pool.query('SELECT seq FROM seq_1_to_100').stream()) rows.push({ ...(row as object) })
    return [rows.length, rows[0], rows.at(-1)]
  },
  'a stream of a connection, and the next statement': async (pool) => {
    const connection = await checkOut(pool)
    const stream = connection.query('SELECT seq FROM seq_1_to_1000').stream({ highWaterMark: 5 })
    const next = ask(connection, 'SELECT 1 AS one')
    let count = 0
    for await (const row of stream) count += Number(row !== undefined)
    const after = await next
    connection.release()
    return [count, after]
  },
  'the error of a stream': async (pool) => {
    try {
      for await (const row of pool.query('SELECT * FROM missing').stream()) expect(row).toBeDefined()
      return 'ended without an error'
    } catch (error) {
      return codeOf(error)
    }
  },
  'ping, reset, changeUser': async (pool) => {
    const connection = await checkOut(pool)
    const { user, password, database } = SQL_ACCOUNT
    const seen = [
      await told((done) => connection.ping(done)),
      await told((done) => connection.reset(done)),
      await told((done) => connection.changeUser({ user, password, database }, done)),
      await ask(connection, 'SELECT 1 AS one'),
    ]
    connection.release()
    return seen
  },
  prepare: async (pool) => {
    const connection = await checkOut(pool)
    const rows = await new Promise((resolve, reject) => {
      connection.prepare('SELECT ? + ? AS sum', (error, statement) => {
        if (error !== null) {
          reject(error)
          return
        }
        statement.execute([1, 2], (failure: unknown, result: unknown) =>
          failure === null || failure === undefined ? resolve(plain(result)) : reject(failure as Error),
        )
      })
    })
    connection.unprepare('SELECT ? + ? AS sum')
    connection.release()
    return rows
  },
  'prepare of nonsense': async (pool) => {
    const connection = await checkOut(pool)
    const code = await told((done) => connection.prepare('NONSENSE', done))
    connection.release()
    return code
  },
  'what a connection says of itself': async (pool) => {
    const connection = await checkOut(pool)
    const [{ id } = { id: 0 }] = (await ask(connection, 'SELECT CONNECTION_ID() AS id')) as { id: number }[]
    const { config, threadId, state, authorized } = connection
    connection.release()
    return [config.host, config.port, config.database, threadId === id, state, authorized]
  },
  'the promise face of a connection': async (pool) => {
    const connection = await checkOut(pool)
    const promised = connection.promise()
    const [rows] = await promised.query('SELECT 1 AS one')
    const isSame = promised.connection === (connection as unknown)
    connection.release()
    return [plain(rows), isSame]
  },
  'the promise face of the pool': async (pool) => {
    const promised = pool.promise()
    const [rows, fields] = await promised.execute('SELECT 1 AS one')
    const connection = await promised.getConnection()
    await connection.beginTransaction()
    await connection.query('SELECT 1')
    await connection.rollback()
    connection.release()
    return [plain(rows), fields.map(({ name }) => name)]
  },
  'a connection that is killed by the server': async (pool) => {
    const connection = await checkOut(pool)
    const ended = new Promise((resolve) => connection.on('error', () => resolve('error')))
    await ask(pool, `KILL ${connection.threadId}`)
    const event = await ended
    const code = await ask(connection, 'SELECT 1').catch(codeOf)
    connection.release()
    return [event, code, await ask(pool, 'SELECT 1 AS one')]
  },
  timeout: async (pool) => {
    const code = await new Promise((resolve) => {
      pool.query({ sql: 'SELECT SLEEP(5)', timeout: 100 }, (error) => resolve(codeOf(error)))
    })
    return [code, await ask(pool, 'SELECT 1 AS one').catch(codeOf)]
  },
  'a transaction that is left open at release': async (pool) => {
    const connection = await checkOut(pool)
    await told((done) => connection.beginTransaction(done))
    await ask(connection, `INSERT INTO ${TABLE} (text) VALUES ('left')`)
    connection.release()
    const next = await checkOut(pool)
    const rows = await ask(next, `SELECT COUNT(*) AS n FROM ${TABLE} WHERE text = 'left'`)
    await told((done) => next.rollback(done))
    next.release()
    return rows
  },
  'a statement after release': async (pool) => {
    const connection = await checkOut(pool)
    connection.release()
    return ask(connection, 'SELECT 1 AS one').catch(codeOf)
  },
  'sql mode': (pool) => ask(pool, "SELECT FIND_IN_SET('NO_ZERO_DATE', @@sql_mode) > 0 AS strict"),
  'end, and a checkout after it': async (pool) => {
    const ended = await told((done) => pool.end(done as never))
    return [ended, await checkOut(pool).catch((error: unknown) => (error as Error).constructor.name)]
  },
}

/** Each is explained in docs/mysql2-differences.md under its name. */
const DIFFERENCES: Readonly<Record<string, Difference>> = {
  'a connection that is killed by the server': {
    mysql2: ['error', 'undefined', [{ one: 1 }]],
    ours: ['error', 'HA_CONNECTION_LOST', [{ one: 1 }]],
  },
  timeout: { mysql2: ['PROTOCOL_SEQUENCE_TIMEOUT', [{ one: 1 }]], ours: ['HA_TIMEOUT', [{ one: 1 }]] },
  'a transaction that is left open at release': { mysql2: [{ n: 1 }], ours: [{ n: 0 }] },
  'a statement after release': { mysql2: [{ one: 1 }], ours: 'HA_CLOSED' },
  'sql mode': { mysql2: [{ strict: 0 }], ours: [{ strict: 1 }] },
  options: { mysql2: 'ok', ours: 'HA_INVALID_OPTION' },
  'end, and a checkout after it': { mysql2: ['ok', 'Error'], ours: ['ok', 'ClosedError'] },
}

let theirs: Pool
let db: MysqlPool

beforeAll(async () => {
  await whole('galera')
  const pool = mysql.createPool({ ...OPTIONS, host })
  await ask(pool, `CREATE TABLE ${TABLE} (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(20))`)
  await ask(pool, `INSERT INTO ${TABLE} (text) VALUES ('first')`)
  await new Promise((resolve) => pool.end(resolve))
})
afterAll(async () => {
  const pool = mysql.createPool({ ...OPTIONS, host })
  await ask(pool, `DROP TABLE ${TABLE}`)
  await new Promise((resolve) => pool.end(resolve))
})
beforeEach(async () => {
  theirs = mysql.createPool({ ...OPTIONS, host })
  db = createPool({ ...OPTIONS, env: {}, hosts: [host] })
  await db.ready()
})
afterEach(async () => {
  await new Promise((resolve) => theirs.end(resolve))
  await db.close()
})

describe('as with mysql2', () => {
  test.each(Object.keys(BEHAVIOURS))('%s', async (name) => {
    const behaviour = BEHAVIOURS[name] as Behaviour
    const expected = await within(LIMIT_MS, `mysql2: ${name}`, behaviour(theirs))
    const actual = await within(LIMIT_MS, `ours: ${name}`, behaviour(db.callbackPool))
    const difference = DIFFERENCES[name]
    if (difference === undefined) expect(actual).toEqual(expected)
    else expect({ mysql2: expected, ours: actual }).toEqual(difference)
  })

  test('options', () => {
    const options = { ...OPTIONS, waitForConnections: true, maxIdle: 1, idleTimeout: 1000, enableKeepAlive: true }
    const made = (make: () => unknown): string => {
      try {
        make()
        return 'ok'
      } catch (error) {
        return codeOf(error)
      }
    }
    const expected = made(() => mysql.createPool({ ...options, host }).end())
    const actual = made(() => createPool({ ...options, env: {}, hosts: [host] }).close())
    expect({ mysql2: expected, ours: actual }).toEqual(DIFFERENCES['options'])
  })

  test('but for what the documentation lists', () => {
    const text = readFileSync(new URL('../../../docs/mysql2-differences.md', import.meta.url), 'utf8')
    const listed = [...text.matchAll(/^## (.*)$/gm)].map(([, name]) => name?.toLowerCase())
    expect(listed.toSorted()).toEqual(Object.keys(DIFFERENCES).toSorted())
    const rows = [...text.matchAll(/^\| (.+?) *\| (.*?) *\| (.*?) *\|$/gm)].slice(2).map((row) => row.slice(1))
    const shown = (result: unknown): string => `\`${JSON.stringify(result)}\``
    const compared = [...Object.keys(BEHAVIOURS), 'options'].map((name) => {
      const { mysql2, ours } = DIFFERENCES[name] ?? {}
      return ours === undefined ? [name, '', 'the same'] : [name, shown(mysql2), shown(ours)]
    })
    expect(rows).toEqual(compared)
  })
})
