import { once } from 'node:events'
import { lookup as systemLookup } from 'node:dns'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createPool, NoWriterError, type MysqlPool, type MysqlPoolOptions } from '../../../src/mysql/index.js'
import { freeze, kill, nodes, start, thaw, whole } from '../../cluster/index.js'
import { adminSql, Haproxy, hostList, type HaproxyOptions, SQL_ACCOUNT } from '../../harness/index.js'
import { SqlTraffic } from './traffic.js'

const [first, second] = nodes('galera').map(({ host }) => host) as [string, string]
const WHOLE = { timeoutMs: 120_000 }
const UNKNOWN = ['HA_OUTCOME_UNKNOWN']

const opened: { close(): Promise<void> }[] = []
async function proxyBefore(options: Partial<HaproxyOptions> = {}): Promise<Haproxy> {
  const proxy = new Haproxy({ servers: hostList('galera'), ...options })
  opened.push(proxy)
  await proxy.start()
  return proxy
}
function open(proxy: Haproxy, options: MysqlPoolOptions = {}): MysqlPool {
  const pool = createPool({ env: {}, hosts: [proxy.address], ...SQL_ACCOUNT, ...options })
  opened.push({ close: () => pool.close({ timeoutMs: 2000 }) })
  return pool
}

interface Where {
  readonly address: string
}
async function serverOf(pool: MysqlPool): Promise<string> {
  const [[row]] = await pool.query<[Where]>('SELECT @@wsrep_node_address AS address')
  return row.address
}
/** A dial is what shows where the proxy leads to now. */
async function makeItDial(pool: MysqlPool): Promise<void> {
  const connection = await pool.getConnection()
  connection.destroy()
}

beforeAll(() => whole('galera', WHOLE))
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close()
})
afterAll(async () => {
  await start('galera')
  await whole('galera', WHOLE)
})

test('a HAProxy that is killed and started again is ridden out: writes are held, nothing is lost', async () => {
  const proxy = await proxyBefore()
  const pool = open(proxy)
  await pool.ready()
  const traffic = await SqlTraffic.start(pool)
  const out = once(pool as never, 'outageStart')
  await proxy.kill()
  await out
  await expect.poll(() => pool.status().hosts[0]?.state).toBe('down')
  // Nobody is turned away meanwhile.
  await expect.poll(() => pool.status().waiting).toBeGreaterThan(0)
  await proxy.start()
  await traffic.more(50)
  await traffic.finish(1, UNKNOWN)
  expect(pool.status().availability).toMatchObject({ isOut: false, outageCount: 1 })
  expect(pool.status()).toMatchObject({ borrowed: 0, waiting: 0, writer: { state: 'serving' } })
})

test('a HAProxy that stays dead is dialled once per second, and writes fail when their time is up', async () => {
  const proxy = await proxyBefore()
  const dials: number[] = []
  const pool = open(proxy, {
    hosts: [`proxy:${proxy.port}`],
    failoverTimeoutMs: 2500,
    lookup: (_name, options, callback) => {
      dials.push(performance.now())
      systemLookup(proxy.host, options, callback)
    },
  })
  await pool.ready()
  await proxy.kill()
  await expect.poll(() => pool.status().hosts[0]?.state).toBe('down')
  dials.length = 0
  await expect(pool.query('DO 1')).rejects.toBeInstanceOf(NoWriterError)
  await expect.poll(() => dials.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(4)
  expect((dials[3] ?? 0) - (dials[0] ?? 0)).toBeGreaterThan(2900)
})

test('the back end of a HAProxy is killed: the next one takes over, nothing hangs, is lost or done twice', async () => {
  const proxy = await proxyBefore()
  const pool = open(proxy)
  expect(await serverOf(pool)).toBe(first)
  const traffic = await SqlTraffic.start(pool)
  const failover = once(pool as never, 'failover')
  await kill('galera', 1)
  await expect(failover).resolves.toMatchObject([{ from: proxy.address, to: proxy.address }])
  await traffic.more(50)
  expect(await serverOf(pool)).toBe(second)

  await start('galera')
  await whole('galera', WHOLE)
  // The proxy leads new connections to the first node again, and the old ones go on: the pool moves as a whole.
  await expect
    .poll(
      async () => {
        await makeItDial(pool)
        return serverOf(pool)
      },
      { timeout: 30_000, interval: 200 },
    )
    .toBe(first)
  await traffic.more(50)
  await traffic.finish(2, UNKNOWN)
})

test('the back end of a HAProxy is frozen: the next one takes over, nothing hangs, is lost or done twice', async () => {
  const proxy = await proxyBefore({ mysqlCheck: true })
  const pool = open(proxy)
  expect(await serverOf(pool)).toBe(first)
  const traffic = await SqlTraffic.start(pool)
  const failover = once(pool as never, 'failover')
  await freeze('galera', 1)
  try {
    await expect(failover).resolves.toMatchObject([{ from: proxy.address, to: proxy.address }])
    await traffic.more(50)
    expect(await serverOf(pool)).toBe(second)
    await traffic.finish(2, UNKNOWN)
  } finally {
    await thaw('galera', 1)
    await whole('galera', WHOLE)
  }
})

test('connections of one pool never work on two servers at once, wherever the proxy leads', async () => {
  const proxy = await proxyBefore({ endsSessions: false })
  const pool = open(proxy, { connectionLimit: 6, drainTimeoutMs: 2000 })
  const table = `${SQL_ACCOUNT.database}.proxy_${randomUUID().slice(0, 8)}`
  await adminSql(1, `CREATE TABLE ${table} (id INT PRIMARY KEY, n INT NOT NULL)`, `INSERT INTO ${table} VALUES (1, 0)`)
  const active = new Map<symbol, string>()
  const seen: string[] = []
  const problems: string[] = []
  let acknowledged = 0
  let isStopping = false
  const work = async (): Promise<void> => {
    while (!isStopping) {
      const before = acknowledged
      const n = await pool.transaction(async (tx) => {
        const me = Symbol()
        try {
          const [[{ address }]] = await tx.query<[Where]>('SELECT @@wsrep_node_address AS address')
          for (const other of active.values()) if (other !== address) problems.push(`${other} and ${address}`)
          active.set(me, address)
          if (seen.at(-1) !== address) seen.push(address)
          const [[row]] = await tx.query<[{ n: number }]>(`SELECT n FROM ${table} WHERE id = 1 FOR UPDATE`)
          // What was acknowledged before this began, on whatever server, is there.
          if (row.n < before) problems.push(`read ${row.n} after ${before}`)
          await tx.query(`UPDATE ${table} SET n = ? WHERE id = 1`, [row.n + 1])
          return row.n + 1
        } finally {
          active.delete(me)
        }
      })
      acknowledged = Math.max(acknowledged, n)
    }
  }
  const workers = Array.from({ length: 4 }, () => work())
  const moveTo = async (address: string, state: 'maint' | 'ready'): Promise<void> => {
    await proxy.setServer(1, state)
    await expect
      .poll(
        async () => {
          await makeItDial(pool)
          return serverOf(pool)
        },
        { timeout: 30_000, interval: 200 },
      )
      .toBe(address)
  }
  await expect.poll(() => seen.length).toBe(1)
  await moveTo(second, 'maint')
  await moveTo(first, 'ready')
  await moveTo(second, 'maint')
  isStopping = true
  await Promise.all(workers)
  const [row] = await adminSql(2, 'SET SESSION wsrep_sync_wait = 1', `SELECT n FROM ${table} WHERE id = 1`)
  await adminSql(1, `DROP TABLE ${table}`)
  expect({ problems, seen }).toEqual({ problems: [], seen: [first, second, first, second] })
  expect(row?.['n']).toBe(acknowledged)
  expect(pool.status().availability).toMatchObject({ failoverCount: 3, outageCount: 0 })
})
