import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { createClient, type MemcachedClient, type MemcachedOptions } from '../../../src/memcached/index.js'
import { blackhole, freeze, heal, kill, nodes, start, thaw, whole } from '../../cluster/index.js'
import { Traffic, type Seen } from './traffic.js'

const names = nodes('memcached').map(({ host, port }) => `${host}:${port}`)
/** Twice the client's default, because the machine that runs the cluster runs the tests too. */
const OPERATION_TIMEOUT_MS = 500
/** Three nodes that are silent, and the contract's 100 ms. */
const LONGEST_MS = 3 * OPERATION_TIMEOUT_MS + 100
/** The node that is hit. */
const N = 2
const VICTIM = names[N - 1] as string

const clients: MemcachedClient[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy()
  await heal('memcached')
  await start('memcached')
  await whole('memcached')
})

async function connect(options: MemcachedOptions = {}): Promise<MemcachedClient> {
  const client = createClient({ servers: names, env: {}, operationTimeoutMs: OPERATION_TIMEOUT_MS, ...options })
  clients.push(client)
  await isBack(client)
  return client
}

const states = (client: MemcachedClient): string[] => client.status().hosts.map(({ state }) => state)

async function leaves(client: MemcachedClient, state: RegExp): Promise<void> {
  await expect.poll(() => states(client)[N - 1], { interval: 10, timeout: 20_000 }).toMatch(state)
}

async function isBack(client: MemcachedClient): Promise<void> {
  await expect.poll(() => states(client), { timeout: 20_000 }).toEqual(names.map(() => 'live'))
}

const next = (client: MemcachedClient, event: 'hostDown' | 'hostUp' | 'failover'): Promise<unknown[]> =>
  once(client as unknown as NodeJS.EventEmitter, event)

/** A client of the one node, to see what is stored there. */
async function alone(): Promise<MemcachedClient> {
  const client = createClient({ servers: VICTIM, env: {} })
  clients.push(client)
  await client.ready()
  return client
}

let runs = 0
const prefix = (): string => `it:${process.pid}:${Date.now()}:${(runs += 1)}`

function expectClean({ stale, errors, longestMs, hitCount }: Seen): void {
  expect(stale).toEqual([])
  expect(errors).toEqual([])
  expect(longestMs).toBeLessThan(LONGEST_MS)
  expect(hitCount).toBeGreaterThan(0)
}

describe.each(['meta', 'memjs'] as const)('with the driver %s', (driver) => {
  describe('a node that is killed', () => {
    test('fails no request, moves only its own keys, and is used again when it is back', async () => {
      const client = await connect({ driver })
      const base = prefix()
      const keys = Array.from({ length: 2000 }, (_, i) => `${base}:fixed:${i}`)
      await Promise.all(keys.map((key) => client.set(key, key)))
      const own = new Set((await (await alone()).getMany(keys)).keys())
      expect(own.size).toBeGreaterThan(200)
      expect(own.size).toBeLessThan(1000)

      const traffic = new Traffic(client, base)
      await traffic.more(2000)
      const down = next(client, 'failover')
      await kill('memcached', N)
      const [failover] = await down
      expect(failover).toMatchObject({ from: VICTIM, to: undefined })
      const found = await client.getMany(keys)
      expect(keys.filter((key) => found.has(key) === own.has(key))).toEqual([])
      await traffic.more(2000)

      const up = next(client, 'hostUp')
      await start('memcached', N)
      await up
      const key = [...own][0] as string
      await client.set(key, 'again')
      await expect((await alone()).get(key)).resolves.toBe('again')
      await traffic.more(2000)
      expectClean(await traffic.stop())
      expect(client.status().evictionCount).toBe(1)
    })
  })

  describe('a node that is frozen under traffic', () => {
    test('wakes up, again and again, and nothing older than what was written is ever read', async () => {
      const client = await connect({ driver, operationTimeoutMs: 250 })
      const naive = await connect({ driver, operationTimeoutMs: 250, rejoin: 'trust' })
      const traffic = new Traffic(client, prefix())
      const naiveTraffic = new Traffic(naive, prefix())
      for (let round = 0; round < 4; round += 1) {
        await traffic.more(3000)
        await freeze('memcached', N)
        await leaves(client, round % 2 === 0 ? /dead/ : /suspect|dead/)
        await traffic.more(1000)
        await thaw('memcached', N)
        await isBack(client)
        await isBack(naive)
      }
      await traffic.more(3000)
      expectClean(await traffic.stop())
      expect(client.status().evictionCount).toBeGreaterThanOrEqual(4)
      // The same traffic without the protection does read old values: the test can tell.
      expect((await naiveTraffic.stop()).stale.length).toBeGreaterThan(0)
    })

    test('for longer than its journal counts: its old values are misses', async () => {
      const client = await connect({ driver })
      const base = prefix()
      const keys = Array.from({ length: 500 }, (_, i) => `${base}:fixed:${i}`)
      await Promise.all(keys.map((key) => client.set(key, key)))
      const own = new Set((await (await alone()).getMany(keys)).keys())
      const traffic = new Traffic(client, base)
      await traffic.more(1000)
      const down = next(client, 'hostDown')
      await freeze('memcached', N)
      await down
      const since = performance.now()
      await expect.poll(() => performance.now() - since, { timeout: 20_000 }).toBeGreaterThan(10_500)
      await thaw('memcached', N)
      await isBack(client)
      expect(client.status().hosts[N - 1]).toMatchObject({ hasWatermark: true, journalCount: 0 })
      const found = await client.getMany(keys)
      expect([...own].filter((key) => found.has(key))).toEqual([])
      await traffic.more(3000)
      expectClean(await traffic.stop())
    })
  })

  describe('a node that is cut off', () => {
    test('gets nothing of what was queued for it when the network heals, and serves nothing old', async () => {
      const client = await connect({ driver, operationTimeoutMs: 250 })
      const traffic = new Traffic(client, prefix())
      for (let round = 0; round < 2; round += 1) {
        await traffic.more(3000)
        await blackhole('memcached', N)
        await leaves(client, /dead/)
        await traffic.more(1000)
        await heal('memcached', N)
        await isBack(client)
      }
      await traffic.more(3000)
      expectClean(await traffic.stop())
    })

    test('a write that nobody acknowledged does not arrive after a newer one', async () => {
      const client = await connect({ driver, operationTimeoutMs: 250 })
      const base = prefix()
      const keys = Array.from({ length: 200 }, (_, i) => `${base}:${i}`)
      await Promise.all(keys.map((key) => client.set(key, 'first')))
      const direct = await alone()
      const own = [...(await direct.getMany(keys)).keys()]
      await blackhole('memcached', N)
      await Promise.all(own.map((key) => client.set(key, 'queued')))
      await leaves(client, /dead/)
      await heal('memcached', N)
      await isBack(client)
      await Promise.all(own.map((key) => client.set(key, 'newer')))
      for (let round = 0; round < 20; round += 1) {
        expect(new Set((await client.getMany<string>(own)).values())).toEqual(new Set(['newer']))
      }
    })
  })

  describe('a real server', () => {
    test('stores what it is given, for as long as it is told', async () => {
      const client = await connect({ driver })
      const key = prefix()
      await client.set(`${key}:text`, 'clé')
      await client.set(`${key}:bytes`, Buffer.from([0, 13, 10, 255]))
      await client.set(`${key}:json`, { a: [1, null] }, { ttlSeconds: 100 * 24 * 3600 })
      await client.set(`${key} with spaces ${'x'.repeat(300)}`, 1)
      await client.set(`${key}:large`, 'x'.repeat(900_000))
      await expect(client.get(`${key}:text`)).resolves.toBe('clé')
      await expect(client.get(`${key}:bytes`)).resolves.toEqual(Buffer.from([0, 13, 10, 255]))
      await expect(client.get(`${key}:json`)).resolves.toEqual({ a: [1, null] })
      await expect(client.get(`${key} with spaces ${'x'.repeat(300)}`)).resolves.toBe(1)
      await expect(client.get(`${key}:large`)).resolves.toBe('x'.repeat(900_000))
      await expect(client.delete(`${key}:text`)).resolves.toBe(true)
      await expect(client.delete(`${key}:text`)).resolves.toBe(false)
      await client.set(`${key}:short`, 1, { ttlSeconds: 1 })
      await expect.poll(() => client.get(`${key}:short`), { timeout: 10_000 }).toBeUndefined()
    })

    test('refuses what is too large for it, and keeps no older value', async () => {
      const client = await connect({ driver, maxValueBytes: 8 * 1024 * 1024 })
      const key = prefix()
      await client.set(key, 'old')
      await expect(client.set(key, 'x'.repeat(3 * 1024 * 1024))).rejects.toMatchObject({ code: 'HA_VALUE_TOO_LARGE' })
      await expect(client.get(key)).resolves.toBeUndefined()
      expect(client.status().evictionCount).toBe(0)
    })
  })
})
