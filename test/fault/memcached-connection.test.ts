import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { NoEndpointError, TimeoutError } from '../../src/core/errors.js'
import { createClient } from '../../src/memcached/index.js'
import { keysOf, type FakeMemcached } from './fake-memcached.js'
import { becomes, connect, endAll, next, startFakes, stateOf, timed } from './memcached-helpers.js'

const unhandled = vi.fn()

beforeEach(() => {
  process.on('unhandledRejection', unhandled)
})

afterEach(async () => {
  await endAll()
  process.off('unhandledRejection', unhandled)
  expect(unhandled).not.toHaveBeenCalled()
  unhandled.mockClear()
})

/** Two nodes, a client, and keys of the first node. */
async function pair(options = {}): Promise<{
  fakes: FakeMemcached[]
  bad: FakeMemcached
  good: FakeMemcached
  client: Awaited<ReturnType<typeof connect>>
  keys: string[]
}> {
  const fakes = await startFakes(2)
  const [bad, good] = fakes as [FakeMemcached, FakeMemcached]
  const client = await connect(fakes, options)
  return { fakes, bad, good, client, keys: keysOf(fakes, 0, 20) }
}

/** The verbs of user requests that a fake got since `from`, the client's own deletions and marks left out. */
function userCommands(fake: FakeMemcached, from: number): string[] {
  return fake.commands.slice(from).filter((command) => !/^mn$|^ms openstack-ha\/mark|^md /.test(command))
}

describe('a connection that fails under a request', () => {
  test('half a value and then a reset: the heir answers, and no later key gets the wrong bytes', async () => {
    const { bad, good, client, keys } = await pair()
    await Promise.all(keys.map((key) => client.set(key, `value of ${key}`)))
    bad.script = (command, socket) => {
      if (!command.startsWith('mg')) return undefined
      socket.write('VA 1000 f16\r\nthe first half', () => socket.resetAndDestroy())
      bad.script = undefined
      return null
    }
    const values = await Promise.all(keys.map((key) => client.get(key)))
    expect(values.every((value) => value === undefined)).toBe(true)
    for (const key of keys) expect([undefined, `value of ${key}`]).toContain(await client.get(key))
    expect(good.commands).toContain(`mg ${keys[0]} v f c`)
    await becomes(client, 0, 'live')
    for (const key of keys) expect([undefined, `value of ${key}`]).toContain(await client.get(key))
  })

  test.each<[string, (fake: FakeMemcached) => void]>([
    ['a FIN', (fake) => fake.sockets.forEach((socket) => socket.end())],
    ['a reset', (fake) => fake.resetAll()],
  ])('%s with one in flight: the heir answers at once', async (_what, cut) => {
    const { bad, client, keys } = await pair()
    bad.script = (command) => {
      if (!command.startsWith('mg')) return undefined
      cut(bad)
      return null
    }
    expect(await timed(client.get(keys[0] as string))).toBeLessThan(200)
    await expect(client.get(keys[1] as string)).resolves.toBeUndefined()
    expect(client.status().evictionCount).toBeGreaterThan(0)
  })

  test('garbage: the connection is cut, the heir answers', async () => {
    const { bad, client, keys } = await pair()
    bad.script = (command) => (command.startsWith('mg') ? 'HTTP/1.1 400 Bad Request\r\n\r\n' : undefined)
    const down = next(client, 'hostDown')
    await expect(client.get(keys[0] as string)).resolves.toBeUndefined()
    await expect(down).resolves.toMatchObject({ host: bad.name, cause: { code: 'HA_PROTOCOL' } })
  })

  test('an answer to another request: the connection is cut, the heir answers', async () => {
    const { bad, client, keys } = await pair()
    bad.script = (command) => (command.startsWith('mg') ? 'HD\r\n' : undefined)
    await expect(client.get(keys[0] as string)).resolves.toBeUndefined()
    expect(client.status().hosts[0]?.lastError).toMatchObject({ code: 'HA_PROTOCOL' })
  })

  test('an answer that nobody asked for: the connection is cut', async () => {
    const { bad, client } = await pair()
    const down = next(client, 'hostDown')
    for (const socket of bad.sockets) socket.write('EN\r\n')
    await expect(down).resolves.toMatchObject({ cause: { code: 'HA_PROTOCOL' } })
  })

  test('silence: the heir answers within the limit, later requests wait for nothing, only probes test the node', async () => {
    const { bad, client, keys } = await pair({ operationTimeoutMs: 100 })
    bad.freeze()
    const elapsed = await Promise.all(keys.map((key) => timed(client.get(key))))
    expect(Math.min(...elapsed)).toBeGreaterThanOrEqual(95)
    expect(Math.max(...elapsed)).toBeLessThan(400)
    expect(stateOf(client, 0)).toBe('suspect')
    const before = client.status().hopCount
    await Promise.all(keys.map((key) => client.get(key)))
    expect(client.status().hopCount).toBe(before)
    const seen = bad.commands.length
    bad.thaw()
    expect(userCommands(bad, seen).length).toBe(keys.length)
    await becomes(client, 0, 'live')
  })

  test('an answer that comes after the limit reaches nobody', async () => {
    const { bad, client, keys } = await pair({ operationTimeoutMs: 100 })
    const [first, second] = keys as [string, string]
    let answerLate: () => void = () => undefined
    bad.script = (command, socket) => {
      if (command !== `mg ${first} v f`) return undefined
      answerLate = () => socket.write('VA 5 f16\r\nfirst\r\n')
      return null
    }
    await expect(client.get(first)).resolves.toBeUndefined()
    answerLate()
    await becomes(client, 0, 'live')
    await expect(client.get(second)).resolves.toBeUndefined()
    await expect(client.getMany(keys.slice(1))).resolves.toEqual(new Map())
  })

  test('a server without room for connections is not given up, and used again when it has room', async () => {
    const { bad, client, keys } = await pair()
    bad.onConnection = (socket) => {
      socket.end('ERROR Too many open connections\r\n')
      return true
    }
    bad.resetAll()
    await expect.poll(() => client.status().hosts[0]?.lastError).toMatchObject({ code: 'HA_SERVER_BUSY' })
    await expect(client.get(keys[0] as string)).resolves.toBeUndefined()
    bad.onConnection = undefined
    await becomes(client, 0, 'live')
  })

  test('a server that is out of memory fails the request, and stays in use', async () => {
    const { bad, client, keys } = await pair()
    bad.script = (command) =>
      command.startsWith('ms key') ? 'SERVER_ERROR out of memory storing object\r\n' : undefined
    await expect(client.set(keys[0] as string, 'a')).rejects.toMatchObject({
      code: 'HA_SERVER_BUSY',
      endpoint: bad.name,
    })
    await expect(client.get(keys[0] as string)).resolves.toBeUndefined()
    expect(client.status()).toMatchObject({ evictionCount: 0, hopCount: 0 })
  })
})

describe('limits', () => {
  test(
    'an event loop that stands still for 3 s evicts nobody and lets nothing time out',
    { timeout: 60_000 },
    async () => {
      const { client, keys } = await pair({ operationTimeoutMs: 100 })
      await Promise.all(keys.map((key) => client.set(key, key)))
      const pending = keys.map((key) => client.get(key))
      // Half of the stalls begin before the requests are written, half of them after.
      for (let stall = 0; stall < 2; stall += 1) {
        const until = performance.now() + 3000
        while (performance.now() < until);
        pending.push(...keys.map((key) => client.get(key)))
        await new Promise((resolve) => process.nextTick(resolve))
      }
      await expect(Promise.all(pending)).resolves.toEqual([...keys, ...keys, ...keys])
      expect(client.status()).toMatchObject({ evictionCount: 0, hopCount: 0 })
      expect(client.status().hosts.map(({ state }) => state)).toEqual(['live', 'live'])
    },
  )

  test("the caller's own limit ends the call and no node", async () => {
    const { bad, client, keys } = await pair({ operationTimeoutMs: 2000 })
    bad.script = (command) => (/^(mg|get) /.test(command) ? null : undefined)
    const call = client.get(keys[0] as string, { timeoutMs: 30 })
    await expect(call).rejects.toBeInstanceOf(TimeoutError)
    expect(stateOf(client, 0)).toBe('live')
    await expect(client.getMany(keys, { timeoutMs: 30 })).rejects.toMatchObject({ phase: 'operation' })
  })

  test("an aborted signal ends the call with the signal's reason, and an aborted one starts none", async () => {
    const { bad, client, keys } = await pair({ operationTimeoutMs: 2000 })
    bad.script = (command) => (command.startsWith('mg') ? null : undefined)
    const controller = new AbortController()
    const call = client.get(keys[0] as string, { signal: controller.signal })
    const reason = new Error('not needed any more')
    controller.abort(reason)
    await expect(call).rejects.toBe(reason)
    const seen = bad.commands.length
    await expect(client.set('a', 'b', { signal: controller.signal })).rejects.toBe(reason)
    expect(bad.commands.length).toBe(seen)
  })

  test('with every node silent, a call ends within the time of three of them', async () => {
    const fakes = await startFakes(5)
    const client = await connect(fakes, { operationTimeoutMs: 60 })
    for (const fake of fakes) fake.freeze()
    const startedAt = performance.now()
    const error = await client.get('a').catch((thrown: unknown) => thrown)
    expect(performance.now() - startedAt).toBeLessThan(3 * 60 + 100)
    // The second, when our own requests to the other nodes have found them silent meanwhile.
    expect((error as { code?: string }).code).toMatch(/^HA_(TIMEOUT|NO_ENDPOINT)$/)
  })
})

describe('nodes', () => {
  test('with all nodes dead a call is refused at once, and says why for each', async () => {
    const { fakes, client } = await pair()
    const start = next(client, 'outageStart')
    await Promise.all(fakes.map((fake) => fake.crash()))
    await expect(start).resolves.toMatchObject({ cause: { code: 'HA_NO_ENDPOINT' } })
    const elapsed: number[] = []
    for (let i = 0; i < 20; i += 1) elapsed.push(await timed(client.get(`a${i}`)))
    expect(elapsed.sort((a, b) => a - b)[10]).toBeLessThan(1)
    const error = await client.get('a').catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(NoEndpointError)
    expect((error as NoEndpointError).errors.length).toBe(2)
    const end = next(client, 'outageEnd')
    await Promise.all(fakes.map((fake) => fake.listen()))
    await end
    await expect(client.get('a')).resolves.toBeUndefined()
    expect(client.status().availability).toMatchObject({ outageCount: 1, isOut: false })
  })

  test('of five silent nodes two are given up, and all are used again when they answer', async () => {
    const fakes = await startFakes(5)
    const client = await connect(fakes, { operationTimeoutMs: 40 })
    for (const fake of fakes) fake.freeze()
    const states = (): string[] => client.status().hosts.map(({ state }) => state)
    const all = fakes.map((_, node) => client.get(keysOf(fakes, node, 1)[0] as string).catch(() => undefined))
    await Promise.all(all)
    await expect.poll(() => states().filter((state) => state === 'dead').length, { timeout: 5000 }).toBe(2)
    // Longer than it takes each of the others to miss several more probes.
    const probes = client.status().hosts.map(({ lastError }) => lastError)
    await expect.poll(() => client.status().hosts.every(({ lastError }, i) => lastError !== probes[i])).toBe(true)
    expect(states().filter((state) => state === 'dead').length).toBe(2)
    for (const fake of fakes) fake.thaw()
    await expect.poll(states, { timeout: 10_000 }).toEqual(fakes.map(() => 'live'))
  })

  test('a node that misses one limit only is never reported as down', async () => {
    const { bad, client, keys } = await pair({ operationTimeoutMs: 100 })
    const events: string[] = []
    for (const name of ['hostDown', 'hostUp', 'failover'] as const) client.on(name, () => events.push(name))
    bad.script = (command) => (command.startsWith('mg') ? null : undefined)
    await client.get(keys[0] as string)
    expect(stateOf(client, 0)).toBe('suspect')
    await becomes(client, 0, 'live')
    expect(events).toEqual([])
  })

  test('a crash is reported once, with the failover it caused, and so is the return', async () => {
    const { bad, client } = await pair()
    const events: [string, object][] = []
    for (const name of ['hostDown', 'hostUp', 'failover'] as const) {
      client.on(name, (payload: object) => events.push([name, payload]))
    }
    await bad.crash()
    await becomes(client, 0, 'dead')
    const refused = client.status().hosts[0]?.lastError
    await expect.poll(() => client.status().hosts[0]?.lastError).not.toBe(refused)
    await bad.listen()
    await becomes(client, 0, 'live')
    expect(events).toMatchObject([
      ['hostDown', { host: bad.name }],
      ['failover', { from: bad.name, to: undefined }],
      ['hostUp', { host: bad.name, cause: undefined }],
    ])
    expect(client.status().availability.failoverCount).toBe(1)
  })

  test('a connection that ends with the answer that would let its node back in is not used', async () => {
    const { bad, client, keys } = await pair()
    const [key] = keys as [string]
    await bad.crash()
    await becomes(client, 0, 'dead')
    let isBroken = true
    bad.script = (command) => {
      if (!isBroken || !command.startsWith('ms openstack-ha/mark')) return undefined
      isBroken = false
      return 'HD c999999\r\nnonsense\r\n'
    }
    await bad.listen()
    await expect.poll(() => isBroken).toBe(false)
    await becomes(client, 0, 'live')
    await client.set(key, 'stored')
    expect(bad.text(key)).toBe('stored')
  })

  test('a client of which no node answers is not ready, and becomes so when one does', async () => {
    const [fake] = (await startFakes(1)) as [FakeMemcached]
    await fake.crash()
    const client = createClient({ servers: fake.name, env: {}, probeIntervalMs: 20 })
    try {
      await expect(client.ready({ timeoutMs: 50 })).rejects.toMatchObject({
        code: 'HA_TIMEOUT',
        cause: { code: 'HA_NO_ENDPOINT' },
      })
      await fake.listen()
      await client.ready({ timeoutMs: 10_000 })
      await client.set('a', 'b')
      await expect(client.get('a')).resolves.toBe('b')
    } finally {
      client.destroy()
    }
  })

  test('a call before the connection stands waits for it', async () => {
    const [fake] = (await startFakes(1)) as [FakeMemcached]
    const client = createClient({ servers: fake.name, env: {} })
    try {
      await client.set('a', { b: 1 })
      await expect(client.get('a')).resolves.toEqual({ b: 1 })
    } finally {
      await client.close()
    }
  })
})

describe('the end', () => {
  test('close waits for what runs, and then takes nothing new', async () => {
    const { client, keys } = await pair()
    const set = client.set(keys[0] as string, 'a')
    const closed = client.close()
    await expect(client.get('a')).rejects.toMatchObject({ code: 'HA_CLOSED' })
    await expect(set).resolves.toBeUndefined()
    await closed
    await expect(client.ready()).rejects.toMatchObject({ code: 'HA_CLOSED' })
    expect(client.status().state).toBe('closed')
  })

  test('close ends what does not end by itself when its time is over', async () => {
    const { fakes, client, keys } = await pair({ operationTimeoutMs: 5000 })
    for (const fake of fakes) fake.freeze()
    const get = client.get(keys[0] as string)
    const settled = expect(get).rejects.toMatchObject({ code: 'HA_CLOSED' })
    await client.close({ timeoutMs: 20 })
    await settled
  })

  test('destroy rejects everything at once, in any state of the nodes, and leaves no timer and no socket', async () => {
    const { fakes, bad, client, keys } = await pair({ operationTimeoutMs: 200 })
    bad.freeze()
    await client.get(keys[0] as string)
    fakes[1]?.freeze()
    const calls = [client.get('a'), client.set('b', 'c'), client.getMany(['d', 'e']), client.delete('f')]
    const settled = Promise.allSettled(calls)
    const cause = new Error('enough')
    client.destroy(cause)
    for (const result of await settled) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'HA_CLOSED', cause } })
    }
    await expect.poll(() => fakes.flatMap((fake) => [...fake.sockets]).length).toBe(0)
    await expect.poll(() => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length).toBe(0)
  })
})
