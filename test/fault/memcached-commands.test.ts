import { afterEach, describe, expect, test } from 'vitest'
import { createClient } from '../../src/memcached/index.js'
import { keysOf, type FakeMemcached } from './fake-memcached.js'
import { becomes, connect, endAll, next, startFakes } from './memcached-helpers.js'

afterEach(endAll)

async function trio(options = {}): Promise<{
  fakes: FakeMemcached[]
  home: FakeMemcached
  client: Awaited<ReturnType<typeof connect>>
  key: string
  keys: string[]
}> {
  const fakes = await startFakes(3)
  const client = await connect(fakes, options)
  const keys = keysOf(fakes, 0, 50)
  return { fakes, home: fakes[0] as FakeMemcached, client, key: keys[0] as string, keys }
}

type Client = Awaited<ReturnType<typeof connect>>

/** A client whose first node holds `old` under `key`, which counts as a miss: the node was removed and added again. */
async function withWatermark(old: unknown): Promise<{ client: Client; home: FakeMemcached; key: string }> {
  const { fakes, home, client, key } = await trio()
  const all = fakes.map(({ name }) => name)
  await client.set(key, old)
  client.setServers(all.slice(1))
  client.setServers(all)
  await expect.poll(() => client.status().hosts.every(({ state }) => state === 'live')).toBe(true)
  expect(client.status().hosts.find(({ host }) => host === home.name)?.hasWatermark).toBe(true)
  expect(home.text(key)).toBeDefined()
  return { client, home, key }
}

describe('commands that depend on what is stored, where that is an old value', () => {
  test('add stores', async () => {
    const { client, key } = await withWatermark('old')
    await expect(client.add(key, 'new')).resolves.toBe(true)
    await expect(client.get(key)).resolves.toBe('new')
    await expect(client.add(key, 'newer')).resolves.toBe(false)
  })

  test('replace, append, touch, gets and getAndTouch find nothing', async () => {
    const { client, key } = await withWatermark('old')
    await expect(client.gets(key)).resolves.toBeUndefined()
    await expect(client.getAndTouch(key, 9)).resolves.toBeUndefined()
    await expect(client.touch(key, 9)).resolves.toBe(false)
    await expect(client.replace(key, 'new')).resolves.toBe(false)
    await expect(client.append(key, 'more')).resolves.toBe(false)
    await expect(client.get(key)).resolves.toBeUndefined()
    expect(client.status().staleRefusedCount).toBeGreaterThan(0)
  })

  test('a counter begins anew', async () => {
    const { client, key } = await withWatermark(41)
    await expect(client.increment(key)).resolves.toBeUndefined()
    await expect(client.increment(key, 1, { initial: 1 })).resolves.toBe(1n)
    await expect(client.increment(key)).resolves.toBe(2n)
  })

  test('getOrSet loads', async () => {
    const { client, key } = await withWatermark('old')
    await expect(client.getOrSet(key, () => 'new')).resolves.toBe('new')
    await expect(client.get(key)).resolves.toBe('new')
  })

  test('on an heir with a copy of an earlier absence, too', async () => {
    const { home, client, key } = await trio()
    await home.crash()
    await becomes(client, 0, 'dead')
    await client.set(key, 41)
    await home.listen()
    await becomes(client, 0, 'live')
    await client.set(key, 100)
    await home.crash()
    await becomes(client, 0, 'dead')
    await expect(client.increment(key)).resolves.toBeUndefined()
    await expect(client.add(key, 1)).resolves.toBe(true)
    await expect(client.increment(key)).resolves.toBe(2n)
    await home.listen()
    await becomes(client, 0, 'live')
    await expect(client.get(key)).resolves.toBeUndefined()
  })
})

describe('a failover in the middle', () => {
  test('a token from before it stores nothing, on the heir and on the node that returned', async () => {
    const { home, client, key } = await trio()
    await client.set(key, 'a')
    const token = (await client.gets(key))?.token
    if (token === undefined) throw new Error('no token')
    await home.crash()
    await becomes(client, 0, 'dead')
    await client.set(key, 'b')
    // On the heir the value may well have the same CAS id: each server counts its own.
    await expect(client.cas(key, 'lost', token)).resolves.toBe(false)
    await expect(client.get(key)).resolves.toBe('b')
    await home.listen()
    await becomes(client, 0, 'live')
    home.set(key, 'c')
    await expect(client.cas(key, 'lost', token)).resolves.toBe(false)
    await expect(client.get(key)).resolves.toBe('c')
  })

  test('an increment whose answer was lost counts once in what is read afterwards', async () => {
    const { home, client, key } = await trio()
    await client.increment(key, 1, { initial: 10 })
    home.script = (command, socket) => {
      if (!command.startsWith('ma')) return undefined
      home.script = undefined
      home.run(command)
      socket.resetAndDestroy()
      return null
    }
    await expect(client.increment(key, 1, { initial: 1 })).resolves.toBe(1n)
    await becomes(client, 0, 'live')
    // What the node counted is gone with its copy.
    await expect(client.increment(key, 1, { initial: 1 })).resolves.toBe(1n)
    await expect(client.increment(key)).resolves.toBe(2n)
  })

  test('a value that is loaded while its node dies is returned, and the heir lets somebody else load', async () => {
    const { fakes, home, client, key } = await trio()
    const other = await connect(fakes)
    let loaded: (value: string) => void = () => undefined
    const begun = new Promise<void>((resolve) => {
      void client
        .getOrSet(key, () => {
          resolve()
          return new Promise<string>((settle) => (loaded = settle))
        })
        .then((value) => results.push(value))
    })
    const results: unknown[] = []
    await begun
    await home.crash()
    await becomes(client, 0, 'dead')
    await becomes(other, 0, 'dead')
    await expect(other.getOrSet(key, () => 'by another')).resolves.toBe('by another')
    loaded('late')
    await expect.poll(() => results).toEqual(['late'])
    await expect(other.get(key)).resolves.toBe('by another')
    await expect(client.get(key)).resolves.toBe('by another')
  })

  test('when no node is left, a call that a node may have done is not called safe to repeat', async () => {
    const [fake] = (await startFakes(1)) as [FakeMemcached]
    const client = await connect([fake])
    await client.set('n', 1)
    fake.script = (command, socket) => {
      if (command.startsWith('ma')) socket.resetAndDestroy()
      return command.startsWith('ma') ? null : undefined
    }
    await expect(client.increment('n')).rejects.toMatchObject({ code: 'HA_NO_ENDPOINT', safeToRetry: false })
    await fake.crash()
    await becomes(client, 0, 'dead')
    await expect(client.increment('n')).rejects.toMatchObject({ code: 'HA_NO_ENDPOINT', safeToRetry: true })
  })
})

describe('when no node is usable', () => {
  test('reads find nothing if they may, and writes are refused', async () => {
    const fakes = await startFakes(2)
    const client = await connect(fakes, { whenUnavailable: 'miss' })
    await Promise.all(fakes.map((fake) => fake.crash()))
    await becomes(client, 0, 'dead')
    await becomes(client, 1, 'dead')
    await expect(client.get('a')).resolves.toBeUndefined()
    await expect(client.gets('a')).resolves.toBeUndefined()
    await expect(client.getAndTouch('a', 1)).resolves.toBeUndefined()
    await expect(client.getMany(['a', 'b'])).resolves.toEqual(new Map())
    await expect(client.getOrSet('a', () => 'loaded')).resolves.toBe('loaded')
    await expect(client.set('a', 1)).rejects.toMatchObject({ code: 'HA_NO_ENDPOINT' })
    await expect(client.delete('a')).rejects.toMatchObject({ code: 'HA_NO_ENDPOINT' })
  })
})

describe('many keys', () => {
  test('what one node refuses is named, what others found is returned', async () => {
    const { fakes, home, client, keys } = await trio()
    const others = fakes.flatMap((_, node) => (node === 0 ? [] : keysOf(fakes, node, 10)))
    await client.setMany(new Map([...keys, ...others].map((key) => [key, key])))
    home.script = (command) => (/^(ms|get) key/.test(command) ? 'SERVER_ERROR out of memory\r\n' : undefined)
    const found = await client.getMany([...keys, ...others])
    expect([...found.keys()].sort()).toEqual([...others].sort())
    expect([...found.failed.keys()].sort()).toEqual([...keys].sort())
    expect(found.failed.get(keys[0] as string)).toMatchObject({ code: 'HA_SERVER_BUSY', endpoint: home.name })
    const { failed } = await client.setMany(new Map([...keys, ...others].map((key) => [key, 1])))
    expect([...failed.keys()].sort()).toEqual([...keys].sort())
    await expect(client.getMany(keys)).rejects.toMatchObject({ code: 'HA_SERVER_BUSY' })
    expect(client.status().evictionCount).toBe(0)
  })

  test('one limit holds for all: what was found until then is returned, the rest is named', async () => {
    const { fakes, home, client, keys } = await trio({ operationTimeoutMs: 5000 })
    const others = keysOf(fakes, 1, 10)
    await client.setMany(new Map([...keys, ...others].map((key) => [key, key])))
    home.freeze()
    const startedAt = performance.now()
    const found = await client.getMany([...keys, ...others], { timeoutMs: 100 })
    expect(performance.now() - startedAt).toBeLessThan(400)
    expect([...found.keys()].sort()).toEqual([...others].sort())
    expect(found.failed.size).toBe(keys.length)
    expect(found.failed.get(keys[0] as string)).toMatchObject({ code: 'HA_TIMEOUT' })
    await expect(client.getMany(keys, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'HA_TIMEOUT' })
    await expect(client.getMany(keys, { signal: AbortSignal.timeout(50) })).rejects.toThrow(/abort|timeout/i)
    home.thaw()
  })
})

describe('servers changed at run time', () => {
  test('one that is removed goes to its heirs, in flight too, and no other key moves', async () => {
    const { fakes, home, client, key, keys } = await trio()
    const others = fakes.flatMap((_, node) => (node === 0 ? [] : keysOf(fakes, node, 20)))
    await client.setMany(new Map([...keys, ...others].map((each) => [each, each])))
    home.freeze()
    const inFlight = client.get(key)
    client.setServers(fakes.slice(1).map(({ name }) => name))
    await expect(inFlight).resolves.toBeUndefined()
    expect((await client.getMany([...keys, ...others])).size).toBe(others.length)
    expect(client.status().hosts.map(({ host }) => host)).toEqual(fakes.slice(1).map(({ name }) => name))
    expect(client.status().evictionCount).toBe(0)
    await client.set(key, 'on an heir')
    await expect(client.get(key)).resolves.toBe('on an heir')
    await expect.poll(() => home.sockets.size).toBe(0)
    home.thaw()
  })

  test('one that is added is used when it is reached; what it holds from before is a miss', async () => {
    const fakes = await startFakes(3)
    const client = await connect(fakes.slice(1))
    const added = fakes[0] as FakeMemcached
    const keys = keysOf(fakes, 0, 20)
    const others = keysOf(fakes, 1, 20)
    await client.setMany(new Map([...keys, ...others].map((key) => [key, 'now'])))
    for (const key of keys) added.set(key, 'long ago')
    client.setServers(fakes.map(({ name }) => name))
    // Its keys stay where they are until it can be used.
    await expect(client.get(keys[0] as string)).resolves.toBe('now')
    await expect.poll(() => client.status().hosts.map(({ state }) => state)).toEqual(['live', 'live', 'live'])
    expect(await client.getMany([...keys, ...others])).toEqual(new Map(others.map((key) => [key, 'now'])))
    await client.set(keys[0] as string, 'new')
    await expect(client.get(keys[0] as string)).resolves.toBe('new')
    expect(added.text(keys[0] as string)).toBe('new')
  })

  test('one that was removed and is added again serves nothing old, nor do its heirs when it leaves again', async () => {
    const { fakes, client, key } = await trio()
    const all = fakes.map(({ name }) => name)
    const liveCount = (): number => client.status().hosts.filter(({ state }) => state === 'live').length
    await client.set(key, '1, at home')
    client.setServers(all.slice(1))
    await expect(client.get(key)).resolves.toBeUndefined()
    await client.set(key, '2, on an heir')
    client.setServers(all)
    await expect.poll(liveCount).toBe(3)
    await expect(client.get(key)).resolves.toBeUndefined()
    await client.set(key, '3, at home')
    client.setServers(all.slice(1))
    await expect(client.get(key)).resolves.toBeUndefined()
    await client.set(key, '4, on an heir')
    await expect(client.get(key)).resolves.toBe('4, on an heir')
  })

  test('many that come and go are forgotten, and what they left behind is a miss', async () => {
    const { fakes, client, key } = await trio()
    const all = fakes.map(({ name }) => name)
    client.setServers(all.slice(1))
    await client.set(key, 'on an heir')
    for (let i = 1; i <= 40; i += 1) client.setServers([...all.slice(1), `127.0.0.1:${i}`])
    client.setServers(all.slice(1))
    expect(client.status().hosts.map(({ state }) => state)).toEqual(['live', 'live'])
    await client.set(key, 'again')
    await expect.poll(() => client.get(key)).toBe('again')
  })

  test('a weight that changes moves keys between servers that stay: what is stored counts as old', async () => {
    const fakes = await startFakes(2)
    const client = await connect(fakes)
    const keys = [...keysOf(fakes, 0, 20), ...keysOf(fakes, 1, 20)]
    await client.setMany(new Map(keys.map((key) => [key, 1])))
    const [a, b] = fakes.map(({ name }) => ({ host: '127.0.0.1', port: Number(name.split(':')[1]) })) as [
      { host: string; port: number },
      { host: string; port: number },
    ]
    client.setServers([{ ...a, weight: 3 }, b])
    await expect(client.getMany(keys)).resolves.toEqual(new Map())
    await client.setMany(new Map(keys.map((key) => [key, 2])))
    await expect(client.getMany(keys)).resolves.toEqual(new Map(keys.map((key) => [key, 2])))
    const [first, second] = client.status().hosts
    expect(first?.share).toBeGreaterThan(0.6)
    expect((first?.share ?? 0) + (second?.share ?? 0)).toBeCloseTo(1, 6)
  })

  test('a list that cannot work changes nothing', async () => {
    const { client } = await trio()
    expect(() => client.setServers([])).toThrow(/at least one/)
    expect(() => client.setServers(['h1', 'h1'])).toThrow(/twice/)
    expect(client.status().hosts.length).toBe(3)
  })
})

describe('without a request', () => {
  test('a node that freezes is found out, and so is its return', async () => {
    const { home, client } = await trio({ operationTimeoutMs: 100 })
    home.freeze()
    await becomes(client, 0, 'dead')
    home.thaw()
    await becomes(client, 0, 'live')
    expect(client.status()).toMatchObject({ hopCount: 0, evictionCount: 1 })
  })

  test('a server that has no room for a second connection is used by the first', async () => {
    const [fake] = (await startFakes(1)) as [FakeMemcached]
    let isFull = true
    fake.onConnection = (socket) => {
      if (!isFull || fake.sockets.size < 2) return false
      socket.end('ERROR Too many open connections\r\n')
      return true
    }
    const client = await connect([fake], { connectionsPerNode: 2, driver: 'meta' })
    await expect.poll(() => fake.sockets.size).toBe(1)
    const keys = Array.from({ length: 20 }, (_, i) => `key:${i}`)
    await client.setMany(new Map(keys.map((key) => [key, key])))
    expect((await client.getMany(keys)).size).toBe(20)
    expect(client.status().evictionCount).toBe(0)
    isFull = false
    await expect.poll(() => fake.sockets.size, { timeout: 10_000 }).toBe(2)
    expect(client.status().evictionCount).toBe(0)
  })

  test('a node that is reached later than the others serves what it holds', async () => {
    const fakes = await startFakes(2)
    const late = fakes[0] as FakeMemcached
    const key = keysOf(fakes, 0, 1)[0] as string
    late.set(key, 'from before')
    await late.crash()
    const client = createClient({ servers: fakes.map(({ name }) => name), env: {}, probeIntervalMs: 20 })
    try {
      await becomes(client, 0, 'dead')
      await late.listen()
      await becomes(client, 0, 'live')
      await expect(client.get(key)).resolves.toBe('from before')
    } finally {
      client.destroy()
    }
  })

  test('a server that is added and cannot be reached is reported as down', async () => {
    const { fakes, client } = await trio()
    const down = next(client, 'hostDown')
    client.setServers([...fakes.map(({ name }) => name), '127.0.0.1:1'])
    await expect(down).resolves.toMatchObject({ host: '127.0.0.1:1', cause: { code: 'HA_CONNECT' } })
    expect(client.status().availability.failoverCount).toBe(0)
  })
})

describe('a name', () => {
  test('is followed to another address without moving keys, and what is there from before is a miss', async () => {
    const [before, after] = (await startFakes(2, ['127.0.0.1', '127.0.0.2'])) as [FakeMemcached, FakeMemcached]
    let address = '127.0.0.1'
    const client = createClient({
      servers: `cache.example:${before.port}`,
      env: {},
      probeIntervalMs: 20,
      lookup: (_host, _options, callback) => callback(null, [{ address, family: 4 }]),
    })
    try {
      await client.set('a', 'first')
      after.set('a', 'of another time')
      address = '127.0.0.2'
      await before.crash()
      await becomes(client, 0, 'dead')
      await becomes(client, 0, 'live')
      await expect(client.get('a')).resolves.toBeUndefined()
      await client.set('a', 'second')
      expect(after.text('a')).toBe('second')
      await expect(client.get('a')).resolves.toBe('second')
    } finally {
      client.destroy()
    }
  })
})

describe('warm-up', () => {
  test('a node that returns empty is given what its heirs took for it, with the time to live that is left', async () => {
    const { home, client, keys } = await trio({ warmUp: true })
    await home.crash()
    await becomes(client, 0, 'dead')
    await client.setMany(new Map(keys.map((key) => [key, `value of ${key}`])), { ttlSeconds: 600 })
    await client.delete(keys[0] as string)
    home.restart()
    await home.listen()
    await becomes(client, 0, 'live')
    const kept = keys.slice(1)
    expect(await client.getMany(keys)).toEqual(new Map(kept.map((key) => [key, `value of ${key}`])))
    expect(home.commands.filter((command) => command.startsWith('ms key') && command.includes(' T600'))).toHaveLength(
      kept.length,
    )
  })

  test('what an heir counts while its counter is being copied is not lost', async () => {
    const { fakes, home, client, key } = await trio({ warmUp: true, operationTimeoutMs: 5000 })
    await home.crash()
    await becomes(client, 0, 'dead')
    await client.set(key, 41)
    const heir = fakes.find((fake) => fake.text(key) === '41') as FakeMemcached
    heir.freeze()
    // First it asks how old the counter is, and counts after the copy was asked for.
    const counting = client.increment(key)
    await expect.poll(() => heir.heldCount).toBe(1)
    await home.listen()
    await expect.poll(() => heir.heldCount).toBe(2)
    heir.thaw()
    await expect(counting).resolves.toBe(42n)
    await becomes(client, 0, 'live')
    await expect(client.get(key)).resolves.toBe(42)
  })
})
