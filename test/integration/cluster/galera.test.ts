import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  blackhole,
  freeze,
  heal,
  kill,
  node,
  nodes,
  partition,
  reset,
  start,
  stateDir,
  status,
  stop,
  thaw,
  up,
  whole,
} from '../../cluster/index.js'
import { clusterCommand, openRaw, RawClient, statusOf } from './clients.js'

const TABLE = 'cluster_verbs'

beforeAll(async () => {
  await onNode(1, (db) => db.query(`CREATE TABLE IF NOT EXISTS ${TABLE} (id INT PRIMARY KEY)`))
})

afterEach(async () => {
  await up(['galera'])
})

afterAll(async () => {
  await onNode(1, (db) => db.query(`DROP TABLE IF EXISTS ${TABLE}`))
})

test('status prints processes, roles and parameters', async () => {
  const text = await clusterCommand('status', 'galera')
  expect(text).toMatch(/galera: whole, suspect timeout \d+ ms/)
  expect(text).toMatch(/127\.0\.1\.1:3306 {2}pid \d+ {2}running {2}Primary, Synced, size 3/)
})

describe('accounts', () => {
  test('root, an owner of the test database, and one with DML rights only', async () => {
    const { host, port } = node('galera', 2)
    const root = await mysql.createConnection({ host, port, user: 'root' })
    await root.query('SELECT 1')
    await root.end()
    const options = { host, port, user: 'ha_dml', password: 'ha_secret', database: 'ha_test' }
    const dml = await mysql.createConnection(options)
    await dml.query(`SELECT * FROM ${TABLE}`)
    await expect(dml.query(`DROP TABLE ${TABLE}`)).rejects.toMatchObject({ code: 'ER_TABLEACCESS_DENIED_ERROR' })
    await dml.end()
  })
})

describe('processes', () => {
  test('a killed node comes back with what was written meanwhile', async () => {
    await kill('galera', 3)
    using refused = new RawClient('galera', 3)
    expect(await refused.connected()).toBe('ECONNREFUSED')
    await insert(1, 1)
    await start('galera', 3)
    await whole('galera')
    expect(await ids(3)).toContain(1)
  })

  test('after all nodes were killed, up brings the data back', async () => {
    await insert(2, 2)
    await Promise.all(nodes('galera').map(({ n }) => kill('galera', n)))
    expect((await status(['galera']))[0]?.nodes.map((each) => each.process)).toEqual(['dead', 'dead', 'dead'])
    expect(await up(['galera'])).toEqual({ started: [] })
    for (const { n } of nodes('galera')) expect(await ids(n)).toContain(2)
  })

  test('start does not wait for a quorum that cannot be', async () => {
    await Promise.all([kill('galera', 1), kill('galera', 2)])
    await start('galera', 1)
    expect(await statusOf('galera', 1)).toMatchObject({ process: 'running', isMember: false })
    expect((await statusOf('galera', 3)).role).toMatch(/^non-Primary/)
    await start('galera')
    await whole('galera')
  })

  test('a stopped node leaves properly: it knows its position, and the others go on at once', async () => {
    await stop('galera', 2)
    const state = readFileSync(join(stateDir(), 'galera', '2', 'data', 'grastate.dat'), 'utf8')
    expect(state).toMatch(/seqno:\s+\d+/)
    await insert(1, 3)
    expect((await statusOf('galera', 1)).role).toMatch(/^Primary, Synced, size 2/)
    await start('galera', 2)
    expect(await ids(2)).toContain(3)
  })

  test('a frozen node accepts connections and says nothing; the others evict it, and take it back', async () => {
    await freeze('galera', 3)
    using client = await openRaw('galera', 3)
    expect(await client.next(700)).toBe('silence')
    await expect
      .poll(async () => (await statusOf('galera', 1)).role, { timeout: 30_000, interval: 300 })
      .toContain('size 2')
    await thaw('galera', 3)
    await whole('galera')
    expect(await client.next()).toContain('MariaDB')
  })
})

describe('network', () => {
  test('a blackhole cuts clients but not the replication', async () => {
    await blackhole('galera', 2)
    using client = new RawClient('galera', 2)
    expect(await client.connected(700)).toBe('silence')
    await insert(1, 4)
    expect(await statusOf('galera', 2)).toMatchObject({ isMember: true, faults: ['blackhole'] })
    await heal('galera', 2)
    expect(await ids(2)).toContain(4)
  })

  test('reset cuts clients but not the replication', async () => {
    using client = await openRaw('galera', 2)
    expect(await client.next()).toContain('MariaDB')
    await reset('galera', 2)
    expect(await client.next()).toBe('ECONNRESET')
    expect((await statusOf('galera', 1)).isMember).toBe(true)
  })

  test('a partitioned node loses the Primary component while clients reach it and the others go on', async () => {
    await partition('galera', 1)
    await expect
      .poll(async () => (await statusOf('galera', 2)).role, { timeout: 30_000, interval: 300 })
      .toContain('size 2')
    await expect
      .poll(async () => (await statusOf('galera', 1)).role, { timeout: 30_000, interval: 300 })
      .toMatch(/^non-Primary/)
    await insert(2, 5)
    await expect(ids(1)).rejects.toMatchObject({ errno: 1047 })
    await heal('galera')
    await whole('galera')
    expect(await ids(1)).toContain(5)
  })
})

test('the suspect time-out can be changed while the cluster runs', async () => {
  await up(['galera'], { suspectTimeoutMs: 4000 })
  expect(await providerOptions(2)).toContain('evs.suspect_timeout = PT4S')
  expect(await providerOptions(2)).toContain('evs.inactive_timeout = PT8S')
  await up(['galera'], { suspectTimeoutMs: 3000 })
  expect(await providerOptions(2)).toContain('evs.suspect_timeout = PT3S')
  expect((await status(['galera']))[0]?.settings.suspectTimeoutMs).toBe(3000)
})

async function onNode<T>(n: number, action: (db: Connection) => Promise<T>): Promise<T> {
  const { host, port } = node('galera', n)
  const account = { user: 'ha_test', password: 'ha_secret', database: 'ha_test' }
  const db = await mysql.createConnection({ host, port, ...account, connectTimeout: 10_000 })
  try {
    return await action(db)
  } finally {
    db.destroy()
  }
}

async function insert(n: number, id: number): Promise<void> {
  await onNode(n, (db) => db.query(`REPLACE INTO ${TABLE} VALUES (?)`, [id]))
}

/** Read with wsrep_sync_wait: a node that has just come back may lag behind for a moment. */
async function ids(n: number): Promise<readonly number[]> {
  return onNode(n, async (db) => {
    await db.query('SET SESSION wsrep_sync_wait = 1')
    const [rows] = await db.query<RowDataPacket[]>(`SELECT id FROM ${TABLE}`)
    return rows.map((row) => row['id'] as number)
  })
}

async function providerOptions(n: number): Promise<string> {
  return onNode(n, async (db) => {
    const [rows] = await db.query<RowDataPacket[]>(`SHOW GLOBAL VARIABLES LIKE 'wsrep_provider_options'`)
    return String(rows[0]?.['Value'])
  })
}
