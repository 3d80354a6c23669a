import { once } from 'node:events'
import type { LookupFunction } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createPool, InvalidOptionError, type MysqlPool, type MysqlPoolOptions } from '../../../src/mysql/index.js'
import { blackhole, freeze, heal, kill, nodes, start, thaw, whole } from '../../cluster/index.js'
import { connections, Haproxy, SQL_ACCOUNT } from '../../harness/index.js'
import { SqlTraffic } from './traffic.js'

const hosts = nodes('galera').map(({ host }) => host)
const [first, second, third] = hosts as [string, string, string]
const CLIENT_ADDRESS = '127.0.9.21'
const WHOLE = { timeoutMs: 120_000 }

/** What the names of these tests lead to, as a name server would say it. */
const names = new Map<string, readonly string[] | NodeJS.ErrnoException>()
const lookup: LookupFunction = (name, _options, callback) => {
  const answer = names.get(name) ?? Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' })
  setImmediate(() => {
    if (answer instanceof Error) callback(answer, [])
    else
      callback(
        null,
        answer.map((address) => ({ address, family: 4 })),
      )
  })
}

const pools: MysqlPool[] = []
function open(options: MysqlPoolOptions): MysqlPool {
  const quick = { probeIntervalMs: 200, passiveProbeIntervalMs: 200 }
  const pool = createPool({ env: {}, ...SQL_ACCOUNT, localAddress: CLIENT_ADDRESS, lookup, ...quick, ...options })
  pools.push(pool)
  return pool
}

async function serverOf(pool: MysqlPool): Promise<string> {
  const [[row]] = await pool.query<[{ address: string }]>('SELECT @@wsrep_node_address AS address')
  return row.address
}

/** Connections of this process to a node, as the kernel has them. */
function connectionsTo(host: string): number {
  return connections().filter(({ remote }) => remote === `${host}:3306`).length
}

beforeAll(() => whole('galera', WHOLE))
beforeEach(() => names.clear())
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 2000 })))
})
afterAll(() => whole('galera', WHOLE))

describe('a host name', () => {
  test('with several addresses: one that refuses is passed over', async () => {
    names.set('db', ['127.0.1.9', second])
    const pool = open({ hosts: ['db'] })
    expect(await serverOf(pool)).toBe(second)
    expect(pool.status().hosts[0]).toMatchObject({ host: 'db:3306', address: second, state: 'up' })
  })

  test('with several addresses: one that is silent does not eat the connect limit', async () => {
    names.set('db', [first, second])
    await blackhole('galera', 1, { from: CLIENT_ADDRESS })
    try {
      const pool = open({ hosts: ['db'], connectTimeoutMs: 5000 })
      await pool.ready({ timeoutMs: 4500 })
      expect(await serverOf(pool)).toBe(second)
    } finally {
      await heal('galera', 1)
    }
  })

  test('with several addresses: one that accepts and says nothing is tried last the next time', async () => {
    names.set('db', [third, second])
    await freeze('galera', 3)
    try {
      const pool = open({ hosts: ['db'], connectTimeoutMs: 1000 })
      expect(await serverOf(pool)).toBe(second)
    } finally {
      await thaw('galera', 3)
      await whole('galera', WHOLE)
    }
  })

  test('with several addresses keeps all connections on one server', async () => {
    names.set('db', [second, first, third])
    const pool = open({ hosts: ['db'] })
    await pool.ready()
    const servers = await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        // As a name server does that shares the load.
        names.set('db', i % 2 === 0 ? [third, first, second] : [first, second, third])
        const connection = await pool.getConnection()
        const [[row]] = await connection.query<[{ address: string }]>(
          'SELECT @@wsrep_node_address AS address, SLEEP(0.1)',
        )
        connection.release()
        return row.address
      }),
    )
    expect(new Set(servers)).toEqual(new Set([second]))
  })

  test('that does not exist does not stop the other hosts, and is said', async () => {
    const pool = open({ hosts: ['nowhere', second] })
    await expect.poll(() => pool.status().hosts[0]?.state, { timeout: 15_000 }).toBe('down')
    expect(await serverOf(pool)).toBe(second)
    expect(pool.status().hosts[0]?.lastError).toMatchObject({ code: 'ENOTFOUND' })
  })

  test('whose name server fails is dialled at the addresses known last', async () => {
    names.set('db', [second])
    const pool = open({ hosts: ['db'], connectionLimit: 3 })
    await pool.ready()
    names.set('db', Object.assign(new Error('getaddrinfo EAI_AGAIN db'), { code: 'EAI_AGAIN' }))
    const all = await Promise.all([pool.getConnection(), pool.getConnection(), pool.getConnection()])
    for (const connection of all) connection.release()
  })

  test('whose addresses all refuse: the error names each of them', async () => {
    names.set('db', ['127.0.1.8', '127.0.1.9'])
    const pool = open({ hosts: ['db'], failoverTimeoutMs: 1000 })
    await expect(pool.query('SELECT 1')).rejects.toThrow(/127\.0\.1\.8.*127\.0\.1\.9/)
    expect(pool.status().hosts[0]?.state).toBe('down')
  })

  test('whose address changes while the old server lives is followed, without an error to anybody', async () => {
    names.set('db', [first])
    const pool = open({ hosts: ['db'], connectionLimit: 4 })
    expect(await serverOf(pool)).toBe(first)
    const traffic = await SqlTraffic.start(pool)
    const moved = once(pool as never, 'failover')
    names.set('db', [second])
    // Another dial asks the name again: a connection that ends makes room for one.
    const connection = await pool.getConnection()
    connection.destroy()
    const [event] = (await moved) as [{ from: string; to: string }]
    expect(event).toMatchObject({ from: 'db:3306', to: 'db:3306' })
    await traffic.more(50)
    expect(await serverOf(pool)).toBe(second)
    await expect.poll(() => connectionsTo(first)).toBe(0)
    await traffic.finish(1)
  })

  test('whose address changes because its server died is followed', async () => {
    names.set('db', [third])
    const pool = open({ hosts: ['db'] })
    expect(await serverOf(pool)).toBe(third)
    const traffic = await SqlTraffic.start(pool)
    names.set('db', [second])
    await kill('galera', 3)
    try {
      await traffic.more(50)
      expect(await serverOf(pool)).toBe(second)
      expect(pool.status().hosts[0]).toMatchObject({ address: second, state: 'up' })
      await traffic.finish(1, ['HA_OUTCOME_UNKNOWN'])
    } finally {
      await start('galera')
      await whole('galera', WHOLE)
    }
  })
})

describe('setHosts', () => {
  test('refuses what cannot work, and nothing has changed then', async () => {
    const pool = open({ hosts })
    await pool.ready()
    const before = pool.status().hosts.map(({ host }) => host)
    for (const bad of [
      [],
      ['db:99999'],
      [first, `${first}:3306`],
      [{ host: first, priority: Number.NaN }],
      first as never,
    ]) {
      expect(() => pool.setHosts(bad)).toThrow(InvalidOptionError)
    }
    expect(pool.status().hosts.map(({ host }) => host)).toEqual(before)
    expect(await serverOf(pool)).toBe(first)
    await pool.close()
    expect(() => pool.setHosts(hosts)).toThrow(expect.objectContaining({ code: 'HA_CLOSED' }))
  })

  test('adds a host, which is probed; those that stay keep their connections', async () => {
    const pool = open({ hosts: [first] })
    const held = await pool.getConnection()
    const { threadId } = held
    const up = once(pool as never, 'hostUp')
    pool.setHosts([first, second])
    await expect(up).resolves.toEqual([{ host: `${second}:3306`, cause: undefined }])
    expect(pool.status().hosts.map(({ host, state }) => [host, state])).toEqual([
      [`${first}:3306`, 'up'],
      [`${second}:3306`, 'up'],
    ])
    await held.query('SELECT 1')
    held.release()
    const again = await pool.getConnection()
    expect(again.threadId).toBe(threadId)
    again.release()
    expect(pool.status().availability.failoverCount).toBe(0)
  })

  test('removes a passive host: it is down for its listeners, and its connections are closed', async () => {
    const pool = open({ hosts })
    await expect.poll(() => pool.status().hosts.map(({ state }) => state)).toEqual(['up', 'up', 'up'])
    await expect.poll(() => connectionsTo(third)).toBeGreaterThan(1)
    const down: unknown[] = []
    pool.on('hostDown', (event) => down.push([event.host, pool.status().hosts.length]))
    pool.setHosts([first, second])
    expect(down).toEqual([[`${third}:3306`, 2]])
    await expect.poll(() => connectionsTo(third)).toBe(0)
    expect(pool.status().availability).toMatchObject({ failoverCount: 0, outageCount: 0 })
  })

  test('removes the writer under load: writes move, without an error, a loss or a double', async () => {
    const pool = open({ hosts })
    await pool.ready()
    const traffic = await SqlTraffic.start(pool)
    const moved = once(pool as never, 'failover')
    pool.setHosts([second, third])
    const [event] = (await moved) as [{ from: string; to: string }]
    expect(event).toMatchObject({ from: `${first}:3306`, to: `${second}:3306` })
    await traffic.more(50)
    expect(await serverOf(pool)).toBe(second)
    await expect.poll(() => connectionsTo(first)).toBe(0)
    await traffic.finish(1)
    expect(pool.status().availability.outageCount).toBe(0)
  })

  test('replaces every host under load, and takes back one that is still being left', async () => {
    const pool = open({ hosts: [first] })
    await pool.ready()
    const traffic = await SqlTraffic.start(pool)
    for (const list of [[second], [first], [third], [second]]) {
      pool.setHosts(list)
      await traffic.more(1)
    }
    await traffic.more(50)
    expect(await serverOf(pool)).toBe(second)
    await expect.poll(() => connectionsTo(first) + connectionsTo(third)).toBe(0)
    await traffic.finish(1)
  })

  test('a removed writer ends what takes longer than the drain limit, and only that', async () => {
    const pool = open({ hosts, drainTimeoutMs: 300 })
    await pool.ready()
    const slow = await pool.getConnection()
    const sleeping = expect(slow.query('SELECT SLEEP(30)')).rejects.toMatchObject({ code: 'HA_OUTCOME_UNKNOWN' })
    const quick = pool.query<[{ done: number }]>('SELECT SLEEP(0.05) AS done')
    pool.setHosts([second, third])
    await expect(quick).resolves.toMatchObject([[{ done: 0 }], {}])
    await sleeping
    slow.release()
    expect(await serverOf(pool)).toBe(second)
  })

  test('a new order moves the writer as a failback does: once nobody holds a connection', async () => {
    const pool = open({ hosts, failbackDelayMs: 0 })
    const held = await pool.getConnection()
    await expect.poll(() => pool.status().hosts.map(({ state }) => state)).toEqual(['up', 'up', 'up'])
    const moved = once(pool as never, 'failover')
    pool.setHosts([second, first, third])
    await held.query('SELECT SLEEP(0.5)')
    expect(pool.status().writer.host).toBe(`${first}:3306`)
    held.release()
    await moved
    expect(await serverOf(pool)).toBe(second)
  })
})

describe('the order of preference', () => {
  test('is each host’s priority first, the list’s order second', async () => {
    const list = [
      { host: first, priority: 5 },
      { host: second, priority: 1 },
      { host: third, priority: 1 },
    ]
    const pool = open({ hosts: list, failbackDelayMs: 0 })
    await expect.poll(() => pool.status().hosts.map(({ state }) => state)).toEqual(['up', 'up', 'up'])
    await expect.poll(() => pool.status().writer.host).toBe(`${second}:3306`)
    expect(await serverOf(pool)).toBe(second)
    const moved = once(pool as never, 'failover')
    pool.setHosts([{ host: first, priority: 0 }, ...list.slice(1)])
    await moved
    expect(await serverOf(pool)).toBe(first)
  })
})

describe('IPv6', () => {
  test('works end to end, in a list and in a URL', async () => {
    const proxy = new Haproxy({ host: '::1', servers: [`${second}:3306`] })
    await proxy.start()
    try {
      const { user, password, database } = SQL_ACCOUNT
      for (const place of [
        { hosts: [proxy.address] },
        { url: `mysql://${user}:${password}@${proxy.address}/${database}` },
      ]) {
        const pool = createPool({ env: {}, ...SQL_ACCOUNT, ...place })
        pools.push(pool)
        expect(await serverOf(pool)).toBe(second)
        expect(pool.status().hosts[0]).toMatchObject({ host: '[::1]:13306', address: '::1' })
        await pool.transaction((tx) => tx.query('SELECT 1'))
      }
    } finally {
      await proxy.close()
    }
  })
})
