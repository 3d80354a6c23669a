import { afterEach, describe, expect, test } from 'vitest'
import { keysOf, type FakeMemcached } from './fake-memcached.js'
import { becomes, connect, endAll, startFakes } from './memcached-helpers.js'

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

describe('a node that returns with old values', () => {
  test('what was set on the heir is a miss on the node, what was not keeps its value', async () => {
    const { home, client, key, keys } = await trio()
    for (const each of keys) await client.set(each, 'old')
    await home.crash()
    await becomes(client, 0, 'dead')
    await client.set(key, 'new')
    await expect(client.get(key)).resolves.toBe('new')
    await home.listen()
    await becomes(client, 0, 'live')
    await expect(client.get(key)).resolves.toBeUndefined()
    await expect(client.get(keys[1] as string)).resolves.toBe('old')
    expect(client.status().hosts[0]).toMatchObject({ journalCount: 0, hasWatermark: false })
  })

  test('what was deleted meanwhile stays deleted', async () => {
    const { home, client, key } = await trio()
    await client.set(key, 'old')
    await home.crash()
    await becomes(client, 0, 'dead')
    await expect(client.delete(key)).resolves.toBe(false)
    expect(client.status().hosts[0]?.journalCount).toBe(1)
    await home.listen()
    await becomes(client, 0, 'live')
    await expect(client.get(key)).resolves.toBeUndefined()
  })

  test("what another client wrote on the heir, and this one read there, is not followed by the node's older value", async () => {
    const { fakes, home, client, key } = await trio()
    const other = await connect(fakes)
    await client.set(key, 'old')
    await home.crash()
    await becomes(client, 0, 'dead')
    await becomes(other, 0, 'dead')
    await client.get(key)
    await other.set(key, 'new')
    await expect(client.get(key)).resolves.toBe('new')
    other.destroy()
    await home.listen()
    await becomes(client, 0, 'live')
    await expect(client.get(key)).resolves.toBeUndefined()
  })

  test('a write that a frozen node applies when it wakes up does not come back', async () => {
    const { home, client, key } = await trio({ operationTimeoutMs: 60 })
    home.freeze()
    await client.set(key, 'frozen')
    await client.set(key, 'newer')
    await becomes(client, 0, 'dead')
    home.thaw()
    expect(home.text(key)).toBe('frozen')
    await becomes(client, 0, 'live')
    await expect(client.get(key)).resolves.toBeUndefined()
    expect(home.text(key)).toBeUndefined()
  })

  test('an heir does not serve what it kept from an earlier absence', async () => {
    const { fakes, home, client, key } = await trio()
    for (const value of ['first', 'second']) {
      await client.set(key, `home before ${value}`)
      await home.crash()
      await becomes(client, 0, 'dead')
      await expect(client.get(key)).resolves.toBeUndefined()
      await client.set(key, value)
      await expect(client.get(key)).resolves.toBe(value)
      await home.listen()
      await becomes(client, 0, 'live')
      await client.set(key, `home after ${value}`)
    }
    expect(fakes.slice(1).some((fake) => fake.text(key) === 'second')).toBe(true)
    expect(client.status().staleRefusedCount).toBeGreaterThan(0)
  })

  test('the heir of an heir, and the heir that returns, serve nothing older either', async () => {
    const { fakes, home, client, key } = await trio()
    await client.set(key, '1')
    await home.crash()
    await becomes(client, 0, 'dead')
    await client.set(key, '2')
    const heir = fakes.findIndex((fake, node) => node > 0 && fake.text(key) === '2')
    await fakes[heir]?.crash()
    await becomes(client, heir, 'dead')
    await expect(client.get(key)).resolves.toBeUndefined()
    await client.set(key, '3')
    await fakes[heir]?.listen()
    await becomes(client, heir, 'live')
    await expect(client.get(key)).resolves.toBeUndefined()
    await home.listen()
    await becomes(client, 0, 'live')
    await expect(client.get(key)).resolves.toBeUndefined()
  })

  test('when more keys changed than can be noted, all that the node holds is a miss, and new values count', async () => {
    const { home, client, key, keys } = await trio()
    const long = keysOf([home], 0, 1)[0] as string
    for (const each of keys) await client.set(each, 'old')
    await home.crash()
    await becomes(client, 0, 'dead')
    for (let batch = 0; !client.status().hosts[0]?.hasJournalOverflowed; batch += 1) {
      const many = Array.from({ length: 2000 }, (_, i) => `${long}${batch}-${i}`.padEnd(240, 'x'))
      await Promise.all(many.map((each) => client.delete(each)))
    }
    await home.listen()
    await becomes(client, 0, 'live')
    expect(client.status().hosts[0]?.hasWatermark).toBe(true)
    for (const each of keys) await expect(client.get(each)).resolves.toBeUndefined()
    expect(client.status().staleRefusedCount).toBe(keys.length)
    await client.set(key, 'new')
    await expect(client.get(key)).resolves.toBe('new')
  })

  test("with 'flush' nothing is left on the node, with 'trust' everything is", async () => {
    for (const rejoin of ['flush', 'trust'] as const) {
      const { home, client, key } = await trio({ rejoin })
      await client.set(key, 'old')
      await home.crash()
      await becomes(client, 0, 'dead')
      await client.set(key, 'new')
      await home.listen()
      await becomes(client, 0, 'live')
      await expect(client.get(key)).resolves.toBe(rejoin === 'flush' ? undefined : 'old')
    }
  })
})

describe('methods', () => {
  test('getMany asks each node once, finds what is there, and moves on with the keys of a node that dies', async () => {
    const { fakes, home, client } = await trio()
    const keys = fakes.flatMap((_, node) => keysOf(fakes, node, 10))
    await Promise.all(keys.map((key) => client.set(key, { key })))
    const wanted = [...keys, 'nowhere', keys[0] as string]
    await expect(client.getMany(wanted)).resolves.toEqual(new Map(keys.map((key) => [key, { key }])))
    expect(fakes.map((fake) => fake.commands.filter((command) => command.startsWith('get')).length)).toEqual([1, 1, 1])
    home.script = (command, socket) => {
      if (command.startsWith('get')) socket.resetAndDestroy()
      return undefined
    }
    const found = await client.getMany(wanted)
    expect([...found.keys()].sort()).toEqual(keys.slice(10).sort())
    await expect(client.getMany([])).resolves.toEqual(new Map())
  })

  test('a value too large is refused, and the old one is gone', async () => {
    const { client, key } = await trio({ maxValueBytes: 100 })
    await client.set(key, 'old')
    await expect(client.set(key, 'x'.repeat(101))).rejects.toMatchObject({ code: 'HA_VALUE_TOO_LARGE' })
    await expect(client.get(key)).resolves.toBeUndefined()
  })

  test('what cannot be stored or asked is a rejection, never a throw', async () => {
    const { client } = await trio({ longKeys: 'refuse' })
    await expect(client.get('')).rejects.toMatchObject({ code: 'HA_KEY' })
    await expect(client.getMany(['a', 'b c'])).rejects.toMatchObject({ code: 'HA_KEY' })
    await expect(client.delete('a\r\n')).rejects.toMatchObject({ code: 'HA_KEY' })
    await expect(client.set('a', undefined)).rejects.toMatchObject({ code: 'HA_INVALID_OPTION' })
    await expect(client.set('a', 1, { ttlSeconds: -1 })).rejects.toMatchObject({ option: 'ttlSeconds' })
    await expect(client.get('a', { timeoutMs: 0 })).rejects.toMatchObject({ option: 'timeoutMs' })
  })

  test('several sockets per node serve the same values', async () => {
    const { fakes, client, keys } = await trio({ connectionsPerNode: 3 })
    await Promise.all(keys.map((key) => client.set(key, key)))
    await expect(client.getMany(keys)).resolves.toEqual(new Map(keys.map((key) => [key, key])))
    expect(fakes.map((fake) => fake.sockets.size)).toEqual([3, 3, 3])
    fakes[0]?.resetAll()
    await expect(client.getMany(keys)).resolves.toBeInstanceOf(Map)
    await becomes(client, 0, 'live')
  })

  test('a status is a frozen snapshot', async () => {
    const { client, key } = await trio()
    await client.set(key, 'a')
    await client.get(key)
    await client.get(`${key}-none`)
    const status = client.status()
    expect(status).toMatchObject({ state: 'open', hitCount: 1, missCount: 1, hopCount: 0, maxFailoverMs: 250 })
    expect(Object.isFrozen(status) && Object.isFrozen(status.hosts) && Object.isFrozen(status.hosts[0])).toBe(true)
  })
})
