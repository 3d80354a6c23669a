import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient, type MemcachedClient } from '../../../src/memcached/index.js'
import { nodes } from '../../cluster/index.js'

const names = nodes('memcached').map(({ host, port }) => `${host}:${port}`)
const MONTH = 30 * 24 * 3600

let counter = 0
const fresh = (): string => `commands:${process.pid}:${Date.now()}:${(counter += 1)}`

describe.each(['meta', 'memjs', 'auto'] as const)('commands with the driver %s', (driver) => {
  let cache: MemcachedClient

  beforeAll(async () => {
    cache = createClient({ servers: names, env: {}, driver, operationTimeoutMs: 1000 })
    await cache.ready()
  })

  afterAll(() => cache.close())

  test('add stores where nothing is, replace where something is', async () => {
    const key = fresh()
    await expect(cache.replace(key, 'a')).resolves.toBe(false)
    await expect(cache.add(key, { a: 1 })).resolves.toBe(true)
    await expect(cache.add(key, 'b')).resolves.toBe(false)
    await expect(cache.get(key)).resolves.toEqual({ a: 1 })
    await expect(cache.replace(key, 'c')).resolves.toBe(true)
    await expect(cache.get(key)).resolves.toBe('c')
  })

  test('append and prepend add to what is there', async () => {
    const key = fresh()
    await expect(cache.append(key, 'x')).resolves.toBe(false)
    await cache.set(key, 'm')
    await expect(cache.append(key, 'z')).resolves.toBe(true)
    await expect(cache.prepend(key, 'a')).resolves.toBe(true)
    await expect(cache.get(key)).resolves.toBe('amz')
    await cache.set(key, Buffer.from([1]))
    await cache.append(key, Buffer.from([2, 0]))
    await expect(cache.get(key)).resolves.toEqual(Buffer.from([1, 2, 0]))
  })

  test('cas stores only when nobody has changed the value', async () => {
    const key = fresh()
    await expect(cache.gets(key)).resolves.toBeUndefined()
    await cache.set(key, 1)
    const first = await cache.gets<number>(key)
    expect(first?.value).toBe(1)
    const token = first?.token as NonNullable<typeof first>['token']
    await expect(cache.cas(key, 2, token)).resolves.toBe(true)
    await expect(cache.cas(key, 3, token)).resolves.toBe(false)
    await expect(cache.get(key)).resolves.toBe(2)
    await cache.delete(key)
    await expect(cache.cas(key, 4, token)).resolves.toBe(false)
    await expect(cache.get(key)).resolves.toBeUndefined()
  })

  test('of many who count with cas none overwrites another', async () => {
    const key = fresh()
    await cache.set(key, 0)
    const add = async (): Promise<void> => {
      for (;;) {
        const found = await cache.gets<number>(key)
        if (found !== undefined && (await cache.cas(key, found.value + 1, found.token))) return
      }
    }
    await Promise.all(Array.from({ length: 20 }, add))
    await expect(cache.get(key)).resolves.toBe(20)
  })

  test('counters have 64 bits, wrap at the top and stop at 0', async () => {
    const key = fresh()
    await expect(cache.increment(key)).resolves.toBeUndefined()
    await expect(cache.increment(key, 5, { initial: 2n ** 64n - 2n })).resolves.toBe(2n ** 64n - 2n)
    await expect(cache.get(key)).resolves.toBe(2n ** 64n - 2n)
    await expect(cache.increment(key)).resolves.toBe(2n ** 64n - 1n)
    await expect(cache.increment(key, 3)).resolves.toBe(2n)
    await expect(cache.decrement(key, 2n ** 53n)).resolves.toBe(0n)
    await cache.set(key, 41)
    await expect(cache.increment(key)).resolves.toBe(42n)
    await expect(cache.get(key)).resolves.toBe(42)
    await expect(cache.decrement(key, 40)).resolves.toBe(2n)
    await expect(cache.get(key)).resolves.toBe(2)
  })

  test('what is no number is not counted on, and evicts nobody', async () => {
    const key = fresh()
    await cache.set(key, 'text')
    await expect(cache.increment(key)).rejects.toMatchObject({ code: 'HA_PROTOCOL' })
    await expect(cache.increment(key, -1)).rejects.toMatchObject({ option: 'delta' })
    await expect(cache.increment(key, 0.5)).rejects.toMatchObject({ option: 'delta' })
    await expect(cache.increment(key, 1, { initial: 2 ** 60 })).rejects.toMatchObject({ option: 'initial' })
    expect(cache.status().evictionCount).toBe(0)
  })

  test('touch gives a new time to live, getAndTouch reads as well', async () => {
    const key = fresh()
    await expect(cache.touch(key, 1)).resolves.toBe(false)
    await expect(cache.getAndTouch(key, 1)).resolves.toBeUndefined()
    await cache.set(key, 'a', { ttlSeconds: 100 })
    await expect(cache.getAndTouch(key, 2 * MONTH)).resolves.toBe('a')
    await expect(cache.get(key)).resolves.toBe('a')
    await expect(cache.touch(key, 1)).resolves.toBe(true)
    await expect.poll(() => cache.get(key), { timeout: 10_000 }).toBeUndefined()
  })

  test('many keys are stored, found and deleted at once', async () => {
    const base = fresh()
    const keys = Array.from({ length: 300 }, (_, i) => `${base}:${i}`)
    await expect(cache.setMany(new Map(keys.map((key) => [key, { key }])))).resolves.toEqual({ failed: new Map() })
    await cache.setMany({ [`${base}:x`]: 'x' })
    const found = await cache.getMany([...keys, `${base}:none`])
    expect(found).toEqual(new Map(keys.map((key) => [key, { key }])))
    expect(found.failed.size).toBe(0)
    await expect(cache.deleteMany([...keys.slice(0, 2), `${base}:none`])).resolves.toEqual(
      new Map([
        [keys[0], true],
        [keys[1], true],
        [`${base}:none`, false],
      ]),
    )
    await expect(cache.getMany(keys.slice(0, 3))).resolves.toEqual(new Map([[keys[2], { key: keys[2] }]]))
  })

  test('of many values the one that is too large is refused, and its old one is gone', async () => {
    const base = fresh()
    const small = createClient({ servers: names, env: {}, driver, maxValueBytes: 100 })
    await small.set(`${base}:b`, 'old')
    const { failed } = await small.setMany({ [`${base}:a`]: 'a', [`${base}:b`]: 'x'.repeat(101) })
    expect([...failed.keys()]).toEqual([`${base}:b`])
    expect(failed.get(`${base}:b`)).toMatchObject({ code: 'HA_VALUE_TOO_LARGE' })
    await expect(small.getMany([`${base}:a`, `${base}:b`])).resolves.toEqual(new Map([[`${base}:a`, 'a']]))
    await small.close()
  })

  test('an empty Buffer is a value', async () => {
    const key = fresh()
    await cache.set(key, Buffer.alloc(0))
    await expect(cache.get(key)).resolves.toEqual(Buffer.alloc(0))
  })

  test('what is compressed is smaller on the server, and comes back as it was', async () => {
    const key = fresh()
    const value = { text: 'abc '.repeat(10_000) }
    const tight = createClient({ servers: names, env: {}, driver, compressFromBytes: 1000, maxValueBytes: 5000 })
    await tight.set(key, value)
    await expect(tight.get(key)).resolves.toEqual(value)
    await expect(cache.get(key)).resolves.toEqual(value)
    await tight.set(key, 'short')
    await expect(cache.append(key, 'er')).resolves.toBe(true)
    await expect(tight.append(key, 'er')).rejects.toMatchObject({ code: 'HA_INVALID_OPTION' })
    await tight.close()
  })

  test('every node tells its version and its statistics', async () => {
    const versions = await cache.version()
    expect([...versions.keys()].sort()).toEqual(names)
    for (const version of versions.values()) expect(version).toMatch(/^1\.\d+/)
    const stats = await cache.stats()
    for (const [name, version] of versions) expect(stats.get(name)).toMatchObject({ version, threads: '1' })
    expect(Object.keys(stats.get(names[0] as string) ?? {}).length).toBeGreaterThan(30)
  })

  test('a flush empties all nodes, and what is stored after it stays', async () => {
    const base = fresh()
    const keys = Array.from({ length: 50 }, (_, i) => `${base}:${i}`)
    await cache.setMany(Object.fromEntries(keys.map((key) => [key, 1])))
    await cache.flush()
    await expect(cache.getMany(keys)).resolves.toEqual(new Map())
    await cache.setMany(Object.fromEntries(keys.map((key) => [key, 2])))
    await expect(cache.getMany(keys)).resolves.toEqual(new Map(keys.map((key) => [key, 2])))
    expect(cache.status().hosts.every(({ hasJournalOverflowed }) => !hasJournalOverflowed)).toBe(true)
  })
})
