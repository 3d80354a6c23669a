import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  CommitOutcomeUnknownError,
  createPool,
  FenceUnavailableError,
  type MysqlPool,
  type MysqlPoolOptions,
  type Transaction,
} from '../../../src/mysql/index.js'
import { lowestFenceId, newFenceId } from '../../../src/mysql/fence-id.js'
import { nodes } from '../../cluster/index.js'
import { adminSql, connectSql, SQL_ACCOUNT } from '../../harness/index.js'
import { SqlProxy } from '../../helpers/sql-proxy.js'

const FENCE = 'openstack_ha_fence'
const table = `once_${randomUUID().replaceAll('-', '').slice(0, 12)}`
const schema = SQL_ACCOUNT.database

let proxies: SqlProxy[]
let db: MysqlPool

const hosts = (): string[] => proxies.map(({ address }) => address)
const open = (options: MysqlPoolOptions = {}): MysqlPool =>
  createPool({
    env: {},
    hosts: hosts(),
    ...SQL_ACCOUNT,
    exactlyOnce: true,
    probeIntervalMs: 200,
    probeTimeoutMs: 300,
    ...options,
  })

beforeAll(async () => {
  await adminSql(1, `CREATE TABLE ${schema}.${table} (n INT AUTO_INCREMENT PRIMARY KEY, op VARCHAR(40) NOT NULL)`)
})
afterAll(() => adminSql(1, `DROP TABLE ${schema}.${table}`))
beforeEach(async () => {
  proxies = await Promise.all(nodes('galera').map((node) => SqlProxy.open(node)))
  db = open()
  await db.ready()
})
afterEach(async () => {
  await db.close({ timeoutMs: 1000 })
  for (const proxy of proxies) proxy.close()
})

/** The proxy before the writer. */
const writerProxy = (): SqlProxy => {
  const found = proxies.find(({ address }) => address === db.status().writer.host)
  if (found === undefined) throw new Error('there is no writer')
  return found
}

/** How often an operation is in the table, as any node has it that has applied everything. */
const times = async (op: string): Promise<number> => {
  const sql = `SELECT COUNT(*) AS times FROM ${schema}.${table} WHERE op = '${op}'`
  const [row] = await adminSql(2, 'SET SESSION wsrep_sync_wait = 1', sql)
  return Number(row?.['times'])
}

/** Inserts one row in a transaction; counts its runs. */
const insertOnce = (op: string, pool: MysqlPool = db): { readonly result: Promise<number>; runs: () => number } => {
  let runs = 0
  const result = pool.transaction(async (tx: Transaction) => {
    runs += 1
    await tx.query(`INSERT INTO ${table} (op) VALUES (?)`, [op])
    return runs
  })
  return { result, runs: () => runs }
}

describe('a transaction whose COMMIT is not answered', () => {
  test('is not run again when it was committed, and returns its result', async () => {
    const played = writerProxy().next('COMMIT', 'lose-answer')
    const { result, runs } = insertOnce('answer lost')
    await expect(result).resolves.toBe(1)
    await played
    expect([runs(), await times('answer lost')]).toEqual([1, 1])
    expect(db.status().fence).toEqual({ committed: 1, aborted: 0, unknown: 0 })
  })

  test('is run again when it was not, and happens once', async () => {
    const played = writerProxy().next('COMMIT', 'lose-statement')
    const { result, runs } = insertOnce('statement lost')
    await expect(result).resolves.toBe(2)
    await played
    expect([runs(), await times('statement lost')]).toEqual([2, 1])
    expect(db.status().fence).toEqual({ committed: 0, aborted: 1, unknown: 0 })
  })

  test('is run again when its server waits for the COMMIT and holds its locks', async () => {
    const played = writerProxy().next('COMMIT', 'swallow')
    const { result, runs } = insertOnce('swallowed')
    await expect(result).resolves.toBe(2)
    await played
    expect([runs(), await times('swallowed')]).toEqual([2, 1])
    expect(db.status().availability.failoverCount).toBe(0)
  })

  test('can never commit any more once another node has said so', async () => {
    const frozen = writerProxy()
    const played = frozen.next('COMMIT', 'hold')
    const { result, runs } = insertOnce('late')
    await played
    await expect(result).resolves.toBe(2)
    // The COMMIT reaches its server only now: a row of the first run would be a second one.
    frozen.release()
    await pause(500)
    expect([runs(), await times('late')]).toEqual([2, 1])
    expect(db.status().writer.host).not.toBe(frozen.address)
    expect(db.status().fence).toEqual({ committed: 0, aborted: 1, unknown: 0 })
  })

  test('gets the same verdict when the verdict’s own answer was lost', async () => {
    const proxy = writerProxy()
    const played = proxy.next('COMMIT', 'lose-statement').then(() => proxy.next(`${FENCE}\``, 'lose-answer'))
    const { result } = insertOnce('verdict lost')
    await expect(result).resolves.toBe(2)
    await played
    expect(await times('verdict lost')).toBe(1)
    expect(db.status().fence).toEqual({ committed: 0, aborted: 1, unknown: 0 })
  })

  test('is unknown when there is no verdict in time, and says why', async () => {
    const short = open({ failoverTimeoutMs: 1500 })
    await short.ready()
    const proxy = writerProxy()
    const played = proxy.next('COMMIT', 'hold').then(() => {
      for (const each of proxies) each.goDark()
    })
    const { result, runs } = insertOnce('never', short)
    const error: unknown = await result.catch((cause: unknown) => cause)
    await played
    expect(error).toBeInstanceOf(CommitOutcomeUnknownError)
    expect(error).toMatchObject({ code: 'HA_OUTCOME_UNKNOWN', sqlState: '08007' })
    expect((error as CommitOutcomeUnknownError).fenceError).toMatchObject({ code: 'HA_NO_WRITER' })
    expect(runs()).toBe(1)
    expect(short.status().fence).toEqual({ committed: 0, aborted: 0, unknown: 1 })
    short.destroy()
  })

  test('is unknown at once when its caller leaves', async () => {
    const proxy = writerProxy()
    const controller = new AbortController()
    const played = proxy.next('COMMIT', 'hold').then(() => controller.abort(new Error('gone')))
    const insert = (tx: Transaction): Promise<unknown> => tx.query(`INSERT INTO ${table} (op) VALUES ('left')`)
    await expect(db.transaction(insert, { signal: controller.signal })).rejects.toBeInstanceOf(
      CommitOutcomeUnknownError,
    )
    await played
  })
})

describe('the table of the fence', () => {
  test('is made by ready(), and holds an id per attempt that committed', async () => {
    const [before] = await adminSql(1, `SELECT COUNT(*) AS ids FROM ${schema}.${FENCE} WHERE state = 'c'`)
    await insertOnce('counted').result
    await db.transaction((tx) => tx.query('SELECT 1'), { readOnly: true })
    await db.transaction((tx) => tx.query('SELECT 1'), { exactlyOnce: false })
    const [after] = await adminSql(1, `SELECT COUNT(*) AS ids FROM ${schema}.${FENCE} WHERE state = 'c'`)
    expect(Number(after?.['ids']) - Number(before?.['ids'])).toBe(1)
  })

  test('is swept of what is older than a day, beside an open transaction and without stopping new ones', async () => {
    const old = Array.from({ length: 700 }, () => newFenceId(Date.now() - 25 * 3_600_000))
    const oldNow = newFenceId(Date.now() - 26 * 3_600_000)
    const rows = old.map((id) => `(X'${id.toString('hex')}', 'c', UTC_TIMESTAMP() - INTERVAL 25 HOUR)`).join()
    const count = async (): Promise<number> => {
      const [row] = await adminSql(1, `SELECT COUNT(*) AS ids FROM ${schema}.${FENCE} WHERE id < X'${youngest}'`)
      return Number(row?.['ids'])
    }
    const youngest = lowestFenceId(Date.now() - 24 * 3_600_000).toString('hex')
    await adminSql(1, `DELETE FROM ${schema}.${FENCE}`, `INSERT INTO ${schema}.${FENCE} VALUES ${rows}`)
    // Made by a clock that is behind: old by its id, new by the server's clock.
    await adminSql(1, `INSERT INTO ${schema}.${FENCE} VALUES (X'${oldNow.toString('hex')}', 'c', UTC_TIMESTAMP())`)
    const other = await connectSql(nodes('galera').findIndex((_, i) => proxies[i] === writerProxy()) + 1)
    await other.query('START TRANSACTION')
    await other.query(
      `INSERT INTO ${schema}.${FENCE} VALUES (X'${randomUUID().replaceAll('-', '')}', 'c', UTC_TIMESTAMP())`,
    )
    const sweeper = open()
    // Each transaction gives the next sweep its turn.
    await expect
      .poll(
        async () => {
          await insertOnce('sweep', sweeper).result
          return count()
        },
        { timeout: 60_000 },
      )
      .toBe(1)
    await other.query('COMMIT')
    other.destroy()
    await sweeper.close()
    await adminSql(1, `DELETE FROM ${schema}.${FENCE} WHERE id = X'${oldNow.toString('hex')}'`)
  })

  test('that cannot be made is refused with what to run', async () => {
    const name = `ha_fence_${randomUUID().slice(0, 8).replaceAll('-', '')}`
    await adminSql(
      1,
      `CREATE DATABASE ${name}`,
      `CREATE TABLE ${name}.t (n INT)`,
      `CREATE USER '${name}'@'%' IDENTIFIED BY 'secret'`,
      `GRANT SELECT, INSERT ON ${name}.t TO '${name}'@'%'`,
    )
    const poor = open({ user: name, password: 'secret', database: name })
    try {
      const error: unknown = await poor.ready().catch((cause: unknown) => cause)
      expect(error).toBeInstanceOf(FenceUnavailableError)
      const [, remedy] = /: run (CREATE TABLE .*)$/s.exec((error as Error).message) ?? []
      for (const statement of (remedy ?? '').split('; ')) await adminSql(1, statement)
      await expect(poor.transaction((tx) => tx.query('INSERT INTO t VALUES (1)'))).resolves.toBeDefined()
    } finally {
      poor.destroy()
      await adminSql(1, `DROP DATABASE ${name}`, `DROP USER '${name}'@'%'`)
    }
  })

  test('that cannot do its work is refused, and so is a pool without a database', async () => {
    const name = `ha_fence_${randomUUID().slice(0, 8).replaceAll('-', '')}`
    await adminSql(
      1,
      `CREATE DATABASE ${name}`,
      `CREATE TABLE ${name}.${FENCE} (id BINARY(16), state CHAR(1)) ENGINE=Aria`,
    )
    const [wrong, nowhere] = [
      open({ user: 'root', password: '', database: name }),
      createPool({ env: {}, hosts: hosts(), user: 'root', exactlyOnce: true }),
    ]
    await expect(wrong.ready()).rejects.toThrow(/is not what it has to be/)
    await expect(nowhere.ready()).rejects.toThrow(/no database/)
    wrong.destroy()
    nowhere.destroy()
    await adminSql(1, `DROP DATABASE ${name}`)
  })
})
