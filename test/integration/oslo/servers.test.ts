import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { RpcTimeoutError, type AmqpTransport } from '../../../src/amqp/index.js'
import { Deferred } from '../../../src/core/timing.js'
import { kill, nodes } from '../../cluster/index.js'
import { EchoServerProcess } from '../../harness/echo-server.js'
import { cleanUp, mend, nodeInUse, onNode, openTransport, uniqueName } from '../amqp/broker.js'

const POLL = { timeout: 30_000, interval: 20 }

let topic: string
let exchange: string
let transport: AmqpTransport

beforeEach(() => {
  topic = uniqueName('served')
  exchange = uniqueName('exchange')
  transport = openTransport({ controlExchange: exchange })
})
afterEach(async () => {
  await transport.close()
})

describe('a server process that is killed while it runs a request', () => {
  let killed: EchoServerProcess
  let started: Deferred<unknown>

  beforeEach(() => {
    started = new Deferred()
  })
  afterEach(async () => {
    await killed.kill()
  })

  /** A server process that runs a request for ever. */
  async function open(acknowledge: 'before' | 'after'): Promise<void> {
    const hosts = nodes('rabbit').map(({ host }) => host)
    const request = { topic, server: 'killed', acknowledge, isStuck: true }
    killed = new EchoServerProcess({ ...request, transport: { hosts, env: {}, controlExchange: exchange } }, (value) =>
      started.resolve(value),
    )
    await killed.open()
  }

  test('takes the request along when it acknowledged before: the call ends at its limit, as perhaps executed', async () => {
    await open('before')
    const startedAt = performance.now()
    const call = transport.rpcClient({ topic }).call({}, 'counted', { value: 1 }, { timeoutMs: 3000 })
    const failed = call.then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(await started.promise).toBe(1)
    const other: unknown[] = []
    await transport.rpcServer(
      { topic, server: 'other' },
      { counted: (_: unknown, { value }: { value: unknown }) => void other.push(value) },
    )
    await killed.kill()
    const error = await failed
    expect(error).toBeInstanceOf(RpcTimeoutError)
    expect(error).toMatchObject({ maybeExecuted: true, safeToRetry: false })
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(2999)
    expect(other).toEqual([])
  })

  test('leaves the request to another server when it would have acknowledged after', async () => {
    await open('after')
    const call = transport.rpcClient({ topic }).call({}, 'counted', { value: 1 }, { timeoutMs: 30_000 })
    expect(await started.promise).toBe(1)
    const counted = (_: unknown, { value }: { value: number }): string => `again ${String(value)}`
    await transport.rpcServer({ topic, server: 'other' }, { counted })
    await killed.kill()
    expect(await call).toBe('again 1')
  })
})

describe.each(['before', 'after'] as const)('a server that acknowledges %s', (acknowledge) => {
  test('rejects what is no request: once, to the dead-letter exchange of the queue', async () => {
    const dead = uniqueName('dead')
    const poison = ['no json', '[]', '{"oslo.version":"3.0","oslo.message":"{}"}']
    await onNode(1, async (channel) => {
      await channel.assertQueue(dead, { durable: true })
      await channel.assertQueue(topic, {
        durable: false,
        arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead },
      })
    })
    const server = await transport.rpcServer({ topic, server: 's' }, { echo: () => 'fine' }, { acknowledge })
    await onNode(1, async (channel) => {
      for (const body of poison) channel.sendToQueue(topic, Buffer.from(body), { contentType: 'application/json' })
      const count = async (): Promise<number> => (await channel.checkQueue(dead)).messageCount
      await expect.poll(count, POLL).toBe(poison.length)
      const first = await channel.get(dead, { noAck: true })
      expect(first === false ? undefined : first.properties.headers?.['x-death']?.[0]).toMatchObject({
        reason: 'rejected',
        count: 1,
      })
      await channel.deleteQueue(dead)
    })
    expect(await transport.rpcClient({ topic }).call({}, 'echo')).toBe('fine')
    expect(server.status()).toMatchObject({ handled: 1, failed: 0, malformed: poison.length })
  })
})

describe('the end of a transport', () => {
  test('lets calls that wait get their answers, and takes no new ones', async () => {
    const gate = new Deferred<undefined>()
    const server = openTransport({ controlExchange: exchange })
    try {
      const running = new Deferred<undefined>()
      await server.rpcServer(
        { topic, server: 's' },
        {
          wait: async () => {
            running.resolve(undefined)
            await gate.promise
            return 'done'
          },
        },
      )
      const client = transport.rpcClient({ topic })
      const call = client.call({}, 'wait')
      await running.promise
      const closed = transport.close()
      await expect(client.call({}, 'wait')).rejects.toMatchObject({ code: 'HA_CLOSED', safeToRetry: true })
      gate.resolve(undefined)
      expect(await call).toBe('done')
      await closed
      expect(transport.status().state).toBe('closed')
    } finally {
      await server.close()
    }
  })
})

describe('fanout by a stream', () => {
  const options = { rabbitStreamFanout: true, rabbitTransientQuorumQueue: true }
  let others: AmqpTransport[]
  let seen: unknown[][]

  beforeEach(async () => {
    await transport.close()
    transport = openTransport({ controlExchange: exchange, ...options })
    others = [0, 1].map(() => openTransport({ controlExchange: exchange, ...options }))
    seen = [[], []]
  })
  afterEach(async () => {
    await Promise.all(others.map((other) => other.close()))
    await mend()
    await cleanUp([`${topic}_fanout`])
  })

  const serve = (index: number): Promise<unknown> => {
    const note = (_: unknown, { value }: { value: unknown }): void => void seen[index]?.push(value)
    return (others[index] as AmqpTransport).rpcServer({ topic, server: `s${String(index)}` }, { note })
  }

  test('reaches every server once, and a new one only from its beginning on', async () => {
    await serve(0)
    const client = transport.rpcClient({ topic })
    for (let value = 1; value <= 5; value += 1) await client.fanout({}, 'note', { value })
    await expect.poll(() => seen[0], POLL).toEqual([1, 2, 3, 4, 5])
    await serve(1)
    for (let value = 6; value <= 10; value += 1) await client.fanout({}, 'note', { value })
    await expect.poll(() => seen[0]?.length, POLL).toBe(10)
    await expect.poll(() => seen[1], POLL).toEqual([6, 7, 8, 9, 10])
    await onNode(1, async (channel) => {
      // As oslo.messaging declares it; anything else would be refused.
      await channel.assertQueue(`${topic}_fanout`, {
        durable: true,
        arguments: { 'x-queue-type': 'stream', 'x-max-age': '1800s' },
      })
    })
  })

  test('loses and repeats nothing through the crash of the node that a server reads from', async () => {
    await Promise.all([serve(0), serve(1)])
    const client = transport.rpcClient({ topic })
    let sent = 0
    const send = async (count: number): Promise<void> => {
      for (let left = count; left > 0; left -= 1) {
        await client.fanout({}, 'note', { value: (sent += 1) }, { idempotent: true })
      }
    }
    await send(50)
    await kill('rabbit', nodeInUse(others[0] as AmqpTransport))
    await send(50)
    const all = Array.from({ length: 100 }, (_, index) => index + 1)
    for (const index of [0, 1]) {
      await expect.poll(() => [...(seen[index] ?? [])].sort((a, b) => Number(a) - Number(b)), POLL).toEqual(all)
    }
  })

  test('outlives its servers', async () => {
    await Promise.all([serve(0), serve(1)])
    await (others[0] as AmqpTransport).close()
    await transport.rpcClient({ topic }).fanout({}, 'note', { value: 'left' })
    await expect.poll(() => seen[1], POLL).toEqual(['left'])
  })
})
