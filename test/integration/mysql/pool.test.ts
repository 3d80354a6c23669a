import { once } from 'node:events'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  createPool,
  InvalidOptionError,
  NoWriterError,
  type Transaction,
  TransactionEndedError,
  type MysqlPool,
  type MysqlPoolOptions,
  type ResultHeader,
} from '../../../src/mysql/index.js'
import { nodes } from '../../cluster/index.js'
import { adminSql, SQL_ACCOUNT } from '../../harness/index.js'

const hosts = nodes('galera').map(({ host }) => host)
const table = `pool_${randomUUID().replaceAll('-', '').slice(0, 12)}`
const open = (options: MysqlPoolOptions = {}): MysqlPool => createPool({ env: {}, hosts, ...SQL_ACCOUNT, ...options })

let db: MysqlPool
beforeAll(async () => {
  db = open()
  await db.ready()
  await db.query(`CREATE TABLE ${table} (id INT PRIMARY KEY, n INT NOT NULL)`)
})
afterAll(async () => {
  await db.query(`DROP TABLE ${table}`)
  await db.close()
})
beforeEach(async () => {
  await db.query(`DELETE FROM ${table}`)
  await db.query(`INSERT INTO ${table} VALUES (1, 10), (2, 20)`)
})

const value = async (id: number): Promise<number> => {
  const [[row]] = await db.query<[{ n: number }]>(`SELECT n FROM ${table} WHERE id = ?`, [id])
  return row.n
}

describe('statements', () => {
  test('return rows and fields as mysql2 does, as text and prepared', async () => {
    const [rows, fields] = await db.query(`SELECT id, n FROM ${table} WHERE id = ?`, [1])
    expect(rows).toEqual([{ id: 1, n: 10 }])
    expect(fields.map(({ name }) => name)).toEqual(['id', 'n'])
    const [header] = await db.execute<ResultHeader>(`UPDATE ${table} SET n = n + ? WHERE id = ?`, [1, 2])
    expect(header.affectedRows).toBe(1)
    expect(await value(2)).toBe(21)
  })

  test('fail with the server’s own error, and the connection goes on', async () => {
    await expect(db.query('SELECT * FROM no_such_table')).rejects.toMatchObject({ errno: 1146, sqlState: '42S02' })
    expect(await value(1)).toBe(10)
  })

  test('that exceed their limit are rejected and their connection is cut, so that the pool is never poisoned', async () => {
    const one = open({ connectionLimit: 1 })
    await one.ready()
    const statement = { sql: 'SELECT SLEEP(30)', timeoutMs: 200 }
    await expect(one.query(statement)).rejects.toMatchObject({ code: 'HA_TIMEOUT', phase: 'operation' })
    await expect(one.query('SELECT 1 AS one')).resolves.toMatchObject([[{ one: 1 }], {}])
    await one.close()
    expect(one.status().borrowed).toBe(0)
  })

  test('end with the reason of an aborted signal', async () => {
    const controller = new AbortController()
    const query = db.query({ sql: 'SELECT SLEEP(30)', signal: controller.signal })
    controller.abort(new Error('changed my mind'))
    await expect(query).rejects.toThrow('changed my mind')
  })

  test('of the SQL mode that OpenStack expects', async () => {
    const [[row]] = await db.query<[{ mode: string }]>('SELECT @@SESSION.sql_mode AS mode')
    expect(row.mode).toContain('TRADITIONAL')
  })

  test('of the reader run on any node, and never lock', async () => {
    const seen = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const [[row]] = await db.reader.query<[{ host: string }]>('SELECT @@bind_address AS host, SLEEP(0.05)')
        return row.host
      }),
    )
    expect(new Set(seen).size).toBeGreaterThan(1)
  })
})

describe('connections', () => {
  test('are served to all who ask at once, also before any of them comes back', async () => {
    const fresh = open()
    const all = await Promise.all(Array.from({ length: 10 }, () => fresh.getConnection({ timeoutMs: 20_000 })))
    expect(all.length).toBe(10)
    for (const connection of all) connection.release()
    await fresh.close()
  })

  test('refuse to run anything after their release, and are given back when what still runs has ended', async () => {
    const one = open({ connectionLimit: 1 })
    const connection = await one.getConnection()
    const log: string[] = []
    const running = connection.query('SELECT SLEEP(0.5)').then(() => log.push('ended'))
    connection.release()
    await expect(connection.query('SELECT 1')).rejects.toThrow(/released/)
    const next = await one.getConnection()
    log.push('given')
    await running
    expect(log).toEqual(['ended', 'given'])
    next.release()
    await one.close()
  })

  test('that were left with autocommit off lose nobody’s write', async () => {
    const one = open({ connectionLimit: 1 })
    const connection = await one.getConnection()
    await connection.query('SET autocommit = 0')
    await connection.query(`UPDATE ${table} SET n = 0 WHERE id = 1`)
    connection.release()
    await one.query(`UPDATE ${table} SET n = n + 1 WHERE id = 1`)
    expect(await value(1)).toBe(11)
    await one.close()
  })

  test('see the cluster as it is, whatever form the caller wants rows in', async () => {
    const arrays = open({ rowsAsArray: true, typeCast: () => 'x' })
    await arrays.ready()
    expect(arrays.status().hosts[0]?.galera).toMatchObject({ clusterStatus: 'Primary', localState: 4 })
    await expect(arrays.query('SELECT NULL AS constructor')).resolves.toMatchObject([[['x']], {}])
    await arrays.close()
  })

  test('stay on the writer, and a transaction left open is rolled back at release', async () => {
    const connection = await db.getConnection()
    expect(connection.host).toBe(db.status().writer.host)
    await connection.beginTransaction()
    await connection.query(`UPDATE ${table} SET n = 99 WHERE id = 1`)
    connection.release()
    connection.release()
    expect(await value(1)).toBe(10)
  })

  test('wait for each other in a bounded queue, with a limit that says how things stand', async () => {
    const small = open({ connectionLimit: 1, queueLimit: 1, acquireTimeoutMs: 300 })
    const held = await small.getConnection()
    const waiting = small.getConnection()
    await expect(small.getConnection()).rejects.toMatchObject({ code: 'HA_BACKPRESSURE' })
    await expect(waiting).rejects.toMatchObject({ code: 'HA_TIMEOUT', phase: 'acquire' })
    await expect(waiting).rejects.toThrow(/borrowed=1/)
    held.release()
    await small.close()
  })

  test('that are killed at the server cost their caller an error and nobody a failover', async () => {
    const connection = await db.getConnection()
    const lost = expect(connection.query('SELECT SLEEP(30)')).rejects.toMatchObject({ code: 'HA_OUTCOME_UNKNOWN' })
    const writer = hosts.indexOf(String(db.status().writer.host?.split(':')[0])) + 1
    await adminSql(writer, `KILL CONNECTION ${connection.threadId}`)
    await lost
    await expect(connection.rollback()).resolves.toBeUndefined()
    connection.release()
    expect(await value(1)).toBe(10)
    expect(db.status().availability.failoverCount).toBe(0)
  })
})

describe('transactions', () => {
  test('commit what the function did, and return what it returned', async () => {
    const result = await db.transaction(async (tx) => {
      await tx.query(`UPDATE ${table} SET n = n - 1 WHERE id = 1`)
      await tx.execute(`UPDATE ${table} SET n = n + 1 WHERE id = ?`, [2])
      return 'done'
    })
    expect([result, await value(1), await value(2)]).toEqual(['done', 9, 21])
  })

  test('are rolled back when the function throws, and its error is thrown', async () => {
    const body = db.transaction(async (tx) => {
      await tx.query(`UPDATE ${table} SET n = 0`)
      throw new RangeError('not enough')
    })
    await expect(body).rejects.toThrow(new RangeError('not enough'))
    expect(await value(1)).toBe(10)
  })

  test('that deadlock are run again until both are committed', async () => {
    let runs = 0
    let met = 0
    let meet = (): void => undefined
    const together = new Promise<void>((resolve) => {
      meet = resolve
    })
    const transfer = (first: number, second: number): Promise<void> =>
      db.transaction(async (tx) => {
        runs += 1
        await tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = ?`, [first])
        met += 1
        if (met === 2) meet()
        await together
        await tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = ?`, [second])
      })
    await Promise.all([transfer(1, 2), transfer(2, 1)])
    expect([await value(1), await value(2)]).toEqual([12, 22])
    expect(runs).toBeGreaterThan(2)
  })

  test('that deadlock between statements that run side by side do nothing outside the transaction', async () => {
    let met = 0
    let meet = (): void => undefined
    const together = new Promise<void>((resolve) => {
      meet = resolve
    })
    const transfer = (first: number, second: number): Promise<unknown> =>
      db.transaction(async (tx) => {
        await tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = ?`, [first])
        met += 1
        if (met === 2) meet()
        await together
        return Promise.all([
          tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = ?`, [second]),
          tx.query(`INSERT INTO ${table} VALUES (?, 1) ON DUPLICATE KEY UPDATE n = n + 1`, [100 + first]),
        ])
      })
    await Promise.all([transfer(1, 2), transfer(2, 1)])
    expect([await value(1), await value(2), await value(101), await value(102)]).toEqual([12, 22, 1, 1])
  })

  test('refuse statements that come after their end', async () => {
    let kept: Transaction | undefined
    await db.transaction((tx) => {
      kept = tx
      return Promise.resolve()
    })
    await expect(kept?.query(`UPDATE ${table} SET n = 777`)).rejects.toBeInstanceOf(TransactionEndedError)
    expect(await value(1)).toBe(10)
  })

  test('are not begun for a caller who has left, and not run again for a privilege that is missing', async () => {
    let runs = 0
    const count = (sql: string) => (tx: Transaction) => {
      runs += 1
      return tx.query(sql)
    }
    const left = db.transaction(count('SELECT 1'), { signal: AbortSignal.abort(new Error('gone')) })
    await expect(left).rejects.toThrow('gone')
    expect(runs).toBe(0)
    await expect(db.transaction(count('USE no_such_database'))).rejects.toMatchObject({ errno: 1044 })
    expect(runs).toBe(1)
  })

  test('that a statement ended before COMMIT are refused and not run again', async () => {
    let runs = 0
    const body = db.transaction(async (tx) => {
      runs += 1
      await tx.query(`UPDATE ${table} SET n = 1 WHERE id = 1`)
      await tx.query('COMMIT')
      await tx.query(`UPDATE ${table} SET n = 2 WHERE id = 1`)
    })
    await expect(body).rejects.toBeInstanceOf(TransactionEndedError)
    expect([runs, await value(1)]).toEqual([1, 1])
  })

  test('end at their limit, and their work is gone', async () => {
    const body = db.transaction(
      async (tx) => {
        await tx.query(`UPDATE ${table} SET n = 0 WHERE id = 1`)
        await tx.query('SELECT SLEEP(30)')
      },
      { timeoutMs: 300 },
    )
    await expect(body).rejects.toMatchObject({ code: 'HA_TIMEOUT' })
    expect(await value(1)).toBe(10)
  })

  test('have the isolation level and the access mode that was asked for', async () => {
    const write = db.transaction((tx) => tx.query(`UPDATE ${table} SET n = 0`), { readOnly: true })
    await expect(write).rejects.toMatchObject({ errno: 1792 })
    const [[row]] = await db.transaction(
      (tx) => tx.query<[{ level: string }]>('SELECT @@SESSION.tx_isolation AS level'),
      { isolationLevel: 'READ COMMITTED' },
    )
    expect(row.level).toBeTypeOf('string')
  })
})

describe('the writer', () => {
  test('is the same for every client, whatever node answers first', async () => {
    const clients = Array.from({ length: 5 }, () => open())
    await Promise.all(clients.map((client) => client.ready()))
    expect(new Set(clients.map((client) => client.status().writer.host)).size).toBe(1)
    await Promise.all(clients.map((client) => client.close()))
  })

  test('moves when it becomes read-only, without an error to anybody', async () => {
    const dml = open({ user: 'ha_dml', probeIntervalMs: 200, passiveProbeIntervalMs: 200 })
    await dml.ready()
    const before = dml.status().writer.host as string
    const n = hosts.indexOf(before.split(':')[0] as string) + 1
    const moved = once(dml as never, 'failover')
    try {
      await adminSql(n, 'SET GLOBAL read_only = 1')
      await moved
      expect(dml.status().writer.host).not.toBe(before)
      await dml.query(`UPDATE ${table} SET n = n + 1 WHERE id = 1`)
    } finally {
      await adminSql(n, 'SET GLOBAL read_only = 0')
    }
    expect(await value(1)).toBe(11)
    await dml.close()
  })
})

describe('the beginning and the end', () => {
  test('a wrong password on every node fails at once, names the hosts, and tells no password', async () => {
    const wrong = open({ password: 'wr0ng-s3cret', connectTimeoutMs: 1000 })
    const events: unknown[] = []
    for (const name of ['hostUp', 'hostDown', 'failover', 'outageStart', 'outageEnd'] as const) {
      wrong.on(name, (payload) => events.push(payload))
    }
    const error: unknown = await wrong.ready({ timeoutMs: 20_000 }).catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(NoWriterError)
    for (const host of hosts) expect(String(error)).toContain(host)
    const everything = [error, (error as Error).cause, wrong.status(), events]
    expect(JSON.stringify(everything) + everything.map(String).join() + String((error as Error).stack)).not.toContain(
      's3cret',
    )
    wrong.destroy()
  })

  test('a list of which one host does not exist serves all the same', async () => {
    const mixed = open({ hosts: ['127.0.1.9', ...hosts] })
    await mixed.ready()
    await expect(mixed.query('SELECT 1 AS one')).resolves.toMatchObject([[{ one: 1 }], {}])
    await mixed.close()
  })

  test('writes are held while there is no writer, and then fail naming every host', async () => {
    const nowhere = open({ hosts: ['127.0.1.8', '127.0.1.9'], failoverTimeoutMs: 300 })
    const error: unknown = await nowhere.query('SELECT 1').catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(NoWriterError)
    expect(String(error)).toMatch(/127\.0\.1\.8:3306 .*; 127\.0\.1\.9:3306 /)
    nowhere.destroy()
  })

  test('close finishes what runs, refuses what comes, and leaves nothing behind', async () => {
    const one = open()
    await one.ready()
    const running = one.query<[{ done: number }]>('SELECT SLEEP(0.3) AS done')
    const closed = one.close()
    await expect(one.query('SELECT 1')).rejects.toMatchObject({ code: 'HA_CLOSED' })
    await expect(running).resolves.toMatchObject([[{ done: 0 }], {}])
    await closed
    expect(one.status()).toMatchObject({ state: 'closed', borrowed: 0, waiting: 0 })
  })

  test('destroy rejects what runs, at once', async () => {
    const one = open()
    await one.ready()
    const running = one.query('SELECT SLEEP(30)')
    const connection = one.getConnection()
    await connection
    one.destroy(new Error('going down'))
    await expect(running).rejects.toMatchObject({ code: 'HA_CLOSED' })
  })

  test('an option that cannot work is refused by the factory', () => {
    expect(() => open({ connectionLimit: -1 })).toThrow(InvalidOptionError)
  })
})
