import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ExpectedError,
  RemoteError,
  type AmqpTransport,
  type RpcClient,
  type RpcServer,
} from '../../../src/amqp/index.js'
import { openTransport, uniqueName } from '../amqp/broker.js'
import { Peer } from './peer.js'

const VALUES: readonly (readonly [string, unknown])[] = [
  ['a number', 42],
  ['a fraction', -0.25],
  ['nothing', null],
  ['text beyond ASCII', 'Zażółć 🚀 \u0000 \u2028 "quoted" \\ and\nlines'],
  ['a tree', { a: [1, { b: [true, false, null] }, []], c: {}, '': 'empty name' }],
  ['the largest integer of JavaScript', Number.MAX_SAFE_INTEGER],
]
const MIB = 1 << 20

class Methods {
  readonly #seen: unknown[]

  constructor(seen: unknown[]) {
    this.#seen = seen
  }

  echo(_context: unknown, { value }: { value: unknown }): unknown {
    return value
  }

  context(context: unknown): unknown {
    return context
  }

  boom(): never {
    throw new TypeError('kaboom')
  }

  python(): never {
    throw new RemoteError({ remoteClass: 'ValueError', remoteModule: 'builtins', remoteMessage: 'from node' })
  }

  refuse(): never {
    throw new ExpectedError(new RangeError('not now'))
  }

  async slow(_context: unknown, { seconds }: { seconds: number }): Promise<string> {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    return 'slept'
  }

  note(context: unknown, { value }: { value: unknown }): void {
    this.#seen.push({ value, context })
  }

  _secret(): string {
    return 'secret'
  }
}

describe('a Node client of a Python server', () => {
  const topic = uniqueName('py')
  let transport: AmqpTransport
  let servers: Peer[]
  let client: RpcClient

  beforeAll(async () => {
    transport = openTransport()
    servers = await Promise.all(['one', 'two'].map((server) => Peer.start('rpc-server', { topic, server })))
    client = transport.rpcClient({ topic, version: '1.0' })
  })
  afterAll(async () => {
    await transport.close()
    await Promise.all(servers.map((server) => server.stop()))
  })

  test.each(VALUES)('gets back %s', async (_, value) => {
    expect(await client.call({ user_id: 'u1' }, 'echo', { value })).toEqual(value)
  })

  test('gets back 1 MiB', async () => {
    const value = 'é'.repeat(MIB / 2)
    expect(await client.call({}, 'echo', { value })).toBe(value)
  })

  test('sends its context and its limit along', async () => {
    const context = { user_id: 'u1', auth_token: 't', roles: ['admin'], client_timeout: undefined }
    expect(await client.call(context, 'context')).toEqual({
      user_id: 'u1',
      auth_token: 't',
      roles: ['admin'],
      client_timeout: null,
    })
  })

  test('refuses an integer that it cannot hold, by the name of the field, unless it may be a bigint', async () => {
    await expect(client.call({}, 'big')).rejects.toMatchObject({ code: 'HA_UNSAFE_INTEGER', field: 'result.id' })
    const other = openTransport({ bigIntegers: true })
    try {
      const result = await other.rpcClient({ topic }).call({}, 'big')
      expect(result).toEqual({ id: 2n ** 64n + 1n, not: [NaN, Infinity] })
      expect(await other.rpcClient({ topic }).call({}, 'echo', { value: -(2n ** 70n) })).toBe(-(2n ** 70n))
    } finally {
      await other.close()
    }
  })

  test('gets the exception of the server', async () => {
    await expect(client.call({}, 'boom', { text: 'Bumm é' })).rejects.toMatchObject({
      code: 'HA_REMOTE',
      remoteClass: 'ValueError',
      remoteModule: 'builtins',
      remoteMessage: 'Bumm é',
      args: ['Bumm é'],
      kwargs: {},
      remoteTraceback: expect.arrayContaining([expect.stringContaining('ValueError')]) as unknown,
    })
    await expect(client.call({}, 'refuse')).rejects.toMatchObject({ remoteClass: 'Refused', remoteMessage: 'no' })
  })

  test('learns that the server has no such method, version or namespace', async () => {
    await expect(client.call({}, 'nosuch')).rejects.toMatchObject({ code: 'HA_REMOTE_METHOD' })
    await expect(client.prepare({ version: '1.6' }).call({}, 'echo')).rejects.toMatchObject({
      code: 'HA_REMOTE_VERSION',
    })
    await expect(client.prepare({ version: '2.0' }).call({}, 'echo')).rejects.toMatchObject({
      code: 'HA_REMOTE_VERSION',
    })
    await expect(client.prepare({ namespace: 'x' }).call({}, 'echo')).rejects.toMatchObject({
      code: 'HA_REMOTE_VERSION',
    })
    const admin = client.prepare({ namespace: 'admin', version: '2.0' })
    expect(await admin.call({}, 'echo', { value: 1 })).toEqual(['admin', 1])
  })

  test('learns that nobody serves a topic', async () => {
    const nobody = transport.rpcClient({ topic: uniqueName('nobody') })
    await expect(nobody.call({}, 'echo')).rejects.toMatchObject({ code: 'HA_UNROUTABLE', safeToRetry: true })
    await expect(nobody.cast({}, 'echo')).rejects.toMatchObject({ code: 'HA_UNROUTABLE' })
    await nobody.fanout({}, 'echo')
  })

  test('ends a call at its limit, not before and not after', async () => {
    const startedAt = performance.now()
    const call = client.call({}, 'slow', { seconds: 3 }, { timeoutMs: 1000 })
    await expect(call).rejects.toMatchObject({ name: 'RpcTimeoutError', code: 'HA_TIMEOUT', maybeExecuted: true })
    const elapsedMs = performance.now() - startedAt
    expect(elapsedMs).toBeGreaterThanOrEqual(999)
    expect(elapsedMs).toBeLessThan(1000 + 500)
  })

  test('ends a call when its signal says so', async () => {
    const controller = new AbortController()
    const call = client.call({}, 'slow', { seconds: 2 }, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
  })

  test('waits for a slow server while that shows signs of life', async () => {
    const monitored = client.prepare({ callMonitorTimeoutMs: 2000, timeoutMs: 20_000 })
    expect(await monitored.call({}, 'slow', { seconds: 5 })).toBe('slept')
  })

  test('reaches one server, any server and all servers', async () => {
    expect(await client.prepare({ server: 'one' }).call({}, 'who')).toBe('one')
    expect(await client.prepare({ server: 'two' }).call({}, 'who')).toBe('two')
    const before = servers.map((server) => server.lines.length)
    await client.fanout({ user_id: 'u1' }, 'note', { value: 'all' })
    for (const [index, server] of servers.entries()) {
      expect(await server.next(before[index] as number)).toMatchObject({ note: 'all', context: { user_id: 'u1' } })
    }
    await client.prepare({ server: 'one' }).cast({}, 'note', { value: 'cast' })
    expect(await (servers[0] as Peer).next((before[0] as number) + 1)).toMatchObject({ note: 'cast', server: 'one' })
  })

  test('is not sent what its version cap forbids', async () => {
    const capped = transport.rpcClient({ topic, version: '1.4' }, { versionCap: '1.3' })
    expect(capped.canSendVersion()).toBe(false)
    expect(capped.canSendVersion('1.2')).toBe(true)
    await expect(capped.call({}, 'echo')).rejects.toMatchObject({ code: 'HA_VERSION_CAP' })
    expect(await capped.prepare({ version: '1.2' }).call({}, 'echo', { value: 1 })).toBe(1)
  })
})

describe('a Python client of a Node server', () => {
  const topic = uniqueName('node')
  const seen: unknown[][] = [[], []]
  let transport: AmqpTransport
  let servers: RpcServer[]
  let client: Peer

  beforeAll(async () => {
    transport = openTransport({ rpcPingEnabled: true })
    servers = await Promise.all(
      seen.map((notes, index) => {
        const admin = {
          target: { namespace: 'admin', version: '2.1' },
          echo: (_: unknown, { value }: { value: unknown }): unknown => ['admin', value],
        }
        return transport.rpcServer({ topic, server: `n${String(index)}`, version: '1.5' }, [new Methods(notes), admin])
      }),
    )
    client = await Peer.start('rpc-client', { topic, version: '1.2' })
  })
  afterAll(async () => {
    await client.stop()
    await transport.close()
  })

  const call = (method: string, args: object = {}): Promise<unknown> => client.ask({ kind: 'call', method, args })

  test.each(VALUES)('gets back %s', async (_, value) => {
    expect(await call('echo', { value })).toMatchObject({ result: value })
  })

  test('gets back 1 MiB', async () => {
    expect(await client.ask({ kind: 'call', method: 'echo', mebibytes: 1 })).toMatchObject({ result: MIB })
  })

  test('sends its context along', async () => {
    const answer = await client.ask({ kind: 'call', method: 'context', context: { user_id: 'u1', auth_token: 't' } })
    expect(answer).toMatchObject({ result: { user_id: 'u1', auth_token: 't', client_timeout: null } })
  })

  test('gets what a method throws: its own class where it knows one, else a RemoteError', async () => {
    expect(await call('boom')).toMatchObject({ error: 'RemoteError', type: 'TypeError', value: 'kaboom' })
    expect(await call('python')).toMatchObject({
      error: 'ValueError',
      text: expect.stringContaining('from node') as string,
    })
    expect(await call('refuse')).toMatchObject({ error: 'RemoteError', type: 'RangeError', value: 'not now' })
    const failed = servers.reduce((sum, server) => sum + server.status().failed, 0)
    expect(failed).toBe(2)
  })

  test('cannot call what is no method', async () => {
    for (const method of ['nosuch', '_secret', 'constructor', 'toString', '__proto__', 'hasOwnProperty']) {
      expect(await call(method)).toMatchObject({ error: 'RemoteError', type: 'NoSuchMethod' })
    }
  })

  test('learns that a version is not served', async () => {
    const other = await Peer.start('rpc-client', { topic, version: '1.6' })
    const admin = await Peer.start('rpc-client', { topic, version: '2.0', namespace: 'admin' })
    try {
      expect(await other.ask({ kind: 'call', method: 'echo' })).toMatchObject({ type: 'UnsupportedVersion' })
      const question = { kind: 'call', method: 'echo', args: { value: 1 } }
      expect(await admin.ask(question)).toMatchObject({ result: ['admin', 1] })
    } finally {
      await Promise.all([other.stop(), admin.stop()])
    }
  })

  test('an integer beyond 2^53 is refused by the name of its field', async () => {
    const server = 2 ** 53
    expect(await call('echo', { value: [server, 'x'] })).toMatchObject({
      error: 'RemoteError',
      type: 'UnsafeIntegerError',
      value: expect.stringContaining("'args.value[0]'") as string,
    })
  })

  test('monitors a slow call by signs of life', async () => {
    const monitor = await Peer.start('rpc-client', { topic, monitor: 2, timeout: 20 })
    try {
      expect(await monitor.ask({ kind: 'call', method: 'slow', args: { seconds: 5 } })).toMatchObject({
        result: 'slept',
      })
    } finally {
      await monitor.stop()
    }
  })

  test('times out at its limit', async () => {
    const hasty = await Peer.start('rpc-client', { topic, timeout: 1 })
    try {
      expect(await hasty.ask({ kind: 'call', method: 'oslo_rpc_server_ping' })).toMatchObject({ result: 'pong' })
      const answer = await hasty.ask({ kind: 'call', method: 'slow', args: { seconds: 3 } })
      expect(answer).toMatchObject({ error: 'MessagingTimeout' })
    } finally {
      await hasty.stop()
    }
  })

  test('casts to one server and to all of them', async () => {
    const direct = await Peer.start('rpc-client', { topic, server: 'n1' })
    try {
      await direct.ask({ kind: 'cast', method: 'note', args: { value: 'direct' } })
      await expect.poll(() => seen[1]).toContainEqual({ value: 'direct', context: { client_timeout: null } })
      await client.ask({ kind: 'fanout', method: 'note', args: { value: 'all' } })
      for (const notes of seen) {
        await expect.poll(() => notes).toContainEqual({ value: 'all', context: { client_timeout: null } })
      }
    } finally {
      await direct.stop()
    }
  })
})

describe.each([
  ['durable', { amqpDurableQueues: true }, { amqp_durable_queues: true }],
  ['quorum', { rabbitQuorumQueue: true }, { rabbit_quorum_queue: true }],
  ['auto-delete', { amqpAutoDelete: true }, { amqp_auto_delete: true }],
  ['compressed', { kombuCompression: 'gzip' }, { kombu_compression: 'gzip' }],
] as const)('with %s queues or messages on both sides', (_, options, rabbit) => {
  test('Node and Python call each other', async () => {
    const [ours, theirs, exchange] = [uniqueName('ours'), uniqueName('theirs'), uniqueName('exchange')]
    const transport = openTransport({ controlExchange: exchange, ...options })
    const mismatches: unknown[] = []
    transport.on('topologyError', (event) => mismatches.push(event))
    const settings = { rabbit, control_exchange: exchange }
    const server = await Peer.start('rpc-server', { topic: theirs, server: 's', ...settings })
    await transport.rpcServer({ topic: ours, server: 's' }, new Methods([]))
    const client = await Peer.start('rpc-client', { topic: ours, ...settings })
    try {
      expect(await transport.rpcClient({ topic: theirs }).call({}, 'echo', { value: 'a' })).toBe('a')
      const answer = await client.ask({ kind: 'call', method: 'echo', args: { value: 'b' } })
      expect(answer).toMatchObject({ result: 'b' })
      expect(mismatches).toEqual([])
    } finally {
      await Promise.all([client.stop(), server.stop()])
      await transport.close()
    }
  })
})

test('a neighbour with other queue options is served all the same, and reported', async () => {
  const [topic, exchange] = [uniqueName('mixed'), uniqueName('exchange')]
  const server = await Peer.start('rpc-server', { topic, server: 's', control_exchange: exchange })
  const transport = openTransport({ controlExchange: exchange, amqpDurableQueues: true })
  const mismatches: string[] = []
  transport.on('topologyError', ({ what }) => mismatches.push(what))
  try {
    expect(await transport.rpcClient({ topic }).call({}, 'echo', { value: 1 })).toBe(1)
    await transport.rpcServer({ topic, server: 'node' }, new Methods([]))
    expect(mismatches).toEqual([`exchange '${exchange}'`, `queue '${topic}'`])
  } finally {
    await transport.close()
    await server.stop()
  }
})
