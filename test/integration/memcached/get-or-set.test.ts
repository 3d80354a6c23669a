import { afterEach, describe, expect, test } from 'vitest'
import { createClient, type MemcachedClient, type MemcachedOptions } from '../../../src/memcached/index.js'
import { nodes } from '../../cluster/index.js'

const names = nodes('memcached').map(({ host, port }) => `${host}:${port}`)
const clients: MemcachedClient[] = []

let counter = 0
const fresh = (): string => `load:${process.pid}:${Date.now()}:${(counter += 1)}`

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
})

async function connect(options: MemcachedOptions = {}): Promise<MemcachedClient> {
  const client = createClient({ servers: names, env: {}, operationTimeoutMs: 1000, ...options })
  clients.push(client)
  await client.ready()
  return client
}

/** A load that ends when it is told to, and counts how often it was begun. */
class Source {
  callCount = 0
  #release: () => void = () => undefined
  #gate = new Promise<void>((resolve) => (this.#release = resolve))

  readonly load = async (): Promise<string> => {
    this.callCount += 1
    const call = this.callCount
    await this.#gate
    return `value ${call}`
  }

  release(): void {
    this.#release()
  }

  async begun(count: number): Promise<void> {
    await expect.poll(() => this.callCount, { timeout: 10_000, interval: 5 }).toBe(count)
  }
}

describe('getOrSet', () => {
  test('one caller of the whole fleet loads, all others get what it loaded', async () => {
    const fleet = await Promise.all(Array.from({ length: 4 }, () => connect()))
    const source = new Source()
    const key = fresh()
    const calls = fleet.flatMap((client) =>
      Array.from({ length: 25 }, () => client.getOrSet(key, source.load, { ttlSeconds: 60 })),
    )
    await source.begun(1)
    source.release()
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['value 1']))
    expect(source.callCount).toBe(1)
    await expect(fleet[3]?.get(key)).resolves.toBe('value 1')
  })

  test('while a new value is loaded the others get the old one, and then the new one', async () => {
    const [loader, other] = [await connect(), await connect()]
    const key = fresh()
    const times = { ttlSeconds: 1, staleSeconds: 60 }
    await loader.getOrSet(key, () => 'old', times)
    const source = new Source()
    // The first call after the time to live loads, and none before.
    const first = { value: undefined as Promise<string> | undefined }
    await expect
      .poll(
        () => {
          const call = loader.getOrSet(key, source.load, times)
          first.value ??= source.callCount === 1 ? call : undefined
          void call.then(() => undefined)
          return new Promise((resolve) => setImmediate(() => resolve(source.callCount)))
        },
        { timeout: 10_000, interval: 50 },
      )
      .toBe(1)
    const others = Array.from({ length: 20 }, () => other.getOrSet(key, source.load, times))
    expect(new Set(await Promise.all(others))).toEqual(new Set(['old']))
    await expect(loader.getOrSet(key, source.load, times)).resolves.toBe('old')
    source.release()
    await expect.poll(() => other.getOrSet(key, source.load, times)).toBe('value 1')
    expect(source.callCount).toBe(1)
  })

  test('a load that fails lets the next caller load at once', async () => {
    const [failing, next] = [await connect(), await connect()]
    const key = fresh()
    const reason = new Error('no database')
    await expect(failing.getOrSet(key, () => Promise.reject(reason))).rejects.toBe(reason)
    const startedAt = performance.now()
    await expect(next.getOrSet(key, () => 'loaded')).resolves.toBe('loaded')
    expect(performance.now() - startedAt).toBeLessThan(1000)
  })

  test('a load that fails leaves the old value to others, of whom the next one loads', async () => {
    const [failing, next] = [await connect(), await connect()]
    const key = fresh()
    // Its time to live is over at once, so that the first who asks loads.
    await next.set(key, 'old', { ttlSeconds: 50 })
    const times = { ttlSeconds: 60, staleSeconds: 55 }
    await expect(failing.getOrSet(key, () => Promise.reject(new Error('no database')), times)).rejects.toThrow(
      'no data',
    )
    const source = new Source()
    const loading = next.getOrSet(key, source.load, times)
    await source.begun(1)
    await expect(failing.getOrSet(key, source.load, times)).resolves.toBe('old')
    source.release()
    await expect(loading).resolves.toBe('value 1')
  })

  test('a read of another kind does not keep everybody from loading', async () => {
    const [failing, reader] = [await connect(), await connect()]
    // Nodes that have been added since look at what they hold before they give the right to load.
    reader.setServers(names.slice(0, 1))
    reader.setServers(names)
    await expect.poll(() => reader.status().hosts.every(({ state }) => state === 'live')).toBe(true)
    const key = fresh()
    await reader.set(key, 'old', { ttlSeconds: 50 })
    const times = { ttlSeconds: 60, staleSeconds: 55 }
    const reads = [
      () => reader.get(key),
      () => reader.getMany([key]),
      () => reader.getAndTouch(key, 50),
      () => reader.touch(key, 50),
      () => reader.add(key, 'not stored'),
      () => reader.append(key, '!'),
    ]
    for (const read of reads) {
      let loadCount = 0
      for (const client of [failing, reader]) {
        const load = (): never => {
          loadCount += 1
          throw new Error('no database')
        }
        await expect(client.getOrSet(key, load, times)).rejects.toThrow('no database')
        await read()
      }
      expect(loadCount).toBe(2)
    }
    await expect(reader.getOrSet(key, () => 'new', times)).resolves.toBe('new')
  })

  test('an old value may be given to others for more than 30 days', async () => {
    const client = await connect()
    const key = fresh()
    const times = { ttlSeconds: 1, staleSeconds: 40 * 24 * 3600 }
    await client.getOrSet(key, () => 'old', times)
    await expect.poll(() => client.getOrSet(key, () => 'new', times), { timeout: 10_000, interval: 100 }).toBe('new')
  })

  test('a load that hangs ends at its limit, and so does its hold on others', async () => {
    const [hanging, next] = [await connect(), await connect()]
    const key = fresh()
    let signal: AbortSignal | undefined
    const hang = ({ signal: given }: { signal: AbortSignal }): Promise<string> => {
      signal = given
      return new Promise(() => undefined)
    }
    const failed = expect(hanging.getOrSet(key, hang, { loadTimeoutMs: 100 })).rejects.toMatchObject({
      code: 'HA_TIMEOUT',
    })
    await expect.poll(() => signal).toBeDefined()
    await expect(next.getOrSet(key, () => 'loaded')).resolves.toBe('loaded')
    await failed
    expect(signal?.aborted).toBe(true)
  })

  test('a process that dies while it loads holds the others up for no longer than its lease', async () => {
    const [dying, next] = [await connect(), await connect()]
    const key = fresh()
    const call = dying.getOrSet(key, () => new Promise<string>(() => undefined), { loadTimeoutMs: 500 })
    const ended = call.catch(() => undefined)
    await expect.poll(() => dying.status().missCount).toBe(1)
    dying.destroy()
    const startedAt = performance.now()
    await expect(next.getOrSet(key, () => 'loaded', { loadTimeoutMs: 500 })).resolves.toBe('loaded')
    expect(performance.now() - startedAt).toBeLessThan(5000)
    await ended
  })

  test('a value that is deleted while it is loaded is not stored', async () => {
    const [loader, other] = [await connect(), await connect()]
    const key = fresh()
    const source = new Source()
    const call = loader.getOrSet(key, source.load)
    await source.begun(1)
    await other.delete(key)
    source.release()
    await expect(call).resolves.toBe('value 1')
    await expect(other.get(key)).resolves.toBeUndefined()
  })

  test('while a value is loaded there is none for other reads', async () => {
    const client = await connect()
    const binary = await connect({ driver: 'memjs' })
    const key = fresh()
    const source = new Source()
    const call = client.getOrSet(key, source.load)
    await source.begun(1)
    for (const reader of [client, binary]) {
      await expect(reader.get(key)).resolves.toBeUndefined()
      await expect(reader.gets(key)).resolves.toBeUndefined()
      await expect(reader.getMany([key])).resolves.toEqual(new Map())
    }
    source.release()
    await call
    await expect(binary.get(key)).resolves.toBe('value 1')
  })

  test('undefined and what is too large are returned and not stored', async () => {
    const client = await connect({ maxValueBytes: 100 })
    const key = fresh()
    await expect(client.getOrSet(key, () => undefined)).resolves.toBeUndefined()
    await expect(client.getOrSet(key, () => 'x'.repeat(200))).resolves.toHaveLength(200)
    await expect(client.getOrSet(key, () => null)).resolves.toBeNull()
    await expect(client.getOrSet(key, () => 'not asked')).resolves.toBeNull()
    await expect(client.getOrSet(key, () => 1, { staleSeconds: 5 })).rejects.toMatchObject({ option: 'staleSeconds' })
    await expect(client.getOrSet(key, () => 1, { loadTimeoutMs: 0 })).rejects.toMatchObject({ option: 'loadTimeoutMs' })
  })

  test('with the binary protocol one caller of the process loads', async () => {
    const client = await connect({ driver: 'memjs' })
    const source = new Source()
    const key = fresh()
    const calls = Array.from({ length: 25 }, () =>
      client.getOrSet(key, source.load, { ttlSeconds: 60, staleSeconds: 5 }),
    )
    await source.begun(1)
    source.release()
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['value 1']))
    expect(source.callCount).toBe(1)
    await expect(client.getOrSet(key, source.load)).resolves.toBe('value 1')
  })
})
