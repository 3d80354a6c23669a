import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AmqpTransport, Message } from '../../../src/amqp/index.js'
import { blackhole, kill, reset } from '../../cluster/index.js'
import { cleanUp, CLIENT_ADDRESS, mend, nodeInUse, onNode, openTransport, uniqueName } from './broker.js'

const POLL = { timeout: 30_000 }
let transport: AmqpTransport
const made: string[] = []

function named(what: string): string {
  const name = uniqueName(what)
  made.push(name)
  return name
}

/** Resets the transport's connections, and waits until it consumes again. */
async function reconnect(): Promise<void> {
  const before = transport.status().connections.consumer
  await reset('rabbit', nodeInUse(transport, 'consumer'))
  await expect.poll(() => transport.status().connections.consumer.since, POLL).not.toBe(before.since)
  await expect.poll(() => transport.status().consumers.every(({ state }) => state === 'active'), POLL).toBe(true)
}

beforeEach(async () => {
  transport = openTransport()
  await transport.ready()
})
afterEach(async () => {
  await transport.close()
  await mend()
})
afterAll(() => cleanUp(made))

describe('a stream', () => {
  async function filled(...bodies: string[]): Promise<string> {
    const queue = named('stream')
    await onNode(nodeInUse(transport), async (channel) => {
      await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'stream' } })
    })
    for (const body of bodies) await transport.publish('', queue, body)
    return queue
  }

  test('is read from the offset on that was asked for, by every consumer', async () => {
    const queue = await filled('0', '1', '2')
    const seen = { first: [] as string[], one: [] as string[], next: [] as string[], time: [] as string[] }
    const collect = (into: string[]) => (message: Message) => void into.push(message.content.toString())
    await transport.consume({ queue, type: 'stream', offset: 'first' }, collect(seen.first))
    await transport.consume({ queue, type: 'stream', offset: 1 }, collect(seen.one))
    await transport.consume({ queue, type: 'stream' }, collect(seen.next))
    await transport.consume({ queue, type: 'stream', offset: new Date(Date.now() - 60_000) }, collect(seen.time))
    await transport.publish('', queue, '3')
    await expect
      .poll(() => seen, POLL)
      .toEqual({
        first: ['0', '1', '2', '3'],
        one: ['1', '2', '3'],
        next: ['3'],
        time: ['0', '1', '2', '3'],
      })
  })

  test('is read on after a reconnect behind what was handled: nothing twice, nothing left out', async () => {
    const queue = await filled()
    const seen: string[] = []
    await transport.consume({ queue, type: 'stream', offset: 'first', prefetch: 10 }, (message) => {
      seen.push(message.content.toString())
    })
    const sent: string[] = []
    for (let round = 0; round < 3; round += 1) {
      for (let i = 0; i < 100; i += 1) {
        sent.push(`${String(round)}-${String(i)}`)
        await transport.publish('', queue, sent.at(-1))
      }
      await reconnect()
    }
    await expect.poll(() => new Set(seen).size, POLL).toBe(sent.length)
    // A message that was sent again after the reset is in the stream twice: its copies have different offsets.
    expect(seen.length - sent.length).toBeLessThanOrEqual(transport.status().counters.resent)
  })

  test('goes on where it was subscribed when nothing had come before the reconnect', async () => {
    const queue = await filled('old')
    const seen: string[] = []
    await transport.consume({ queue, type: 'stream' }, (message) => void seen.push(message.content.toString()))
    const other = openTransport({ localAddress: '127.0.9.22' })
    try {
      await reset('rabbit', nodeInUse(transport, 'consumer'))
      await other.publish('', queue, 'meanwhile')
    } finally {
      await other.close()
    }
    await expect.poll(() => seen, POLL).toContain('meanwhile')
  })
})

describe('an exclusive queue', () => {
  const exchange = 'amq.topic'

  test('is made anew with its bindings, under its name, on each connection', async () => {
    const queue = named('exclusive')
    const seen: string[] = []
    const bindings = [{ exchange, routingKey: queue }]
    const consumer = await transport.consume({ queue, type: 'exclusive', bindings }, (message) => {
      seen.push(message.content.toString())
    })
    await transport.publish(exchange, queue, '1')
    await reconnect()
    await transport.publish(exchange, queue, '2')
    await expect.poll(() => seen, POLL).toEqual(['1', '2'])
    expect(consumer.queue).toBe(queue)
    await consumer.close()
    await transport.close()
    await expect
      .poll(() => onNode(1, (channel) => channel.checkQueue(queue)).catch((error: unknown) => error), POLL)
      .toMatchObject({ code: 404 })
  })

  test('has a name of its own where none is given', async () => {
    const one = await transport.consume({ type: 'exclusive' }, () => undefined)
    const other = await transport.consume({ type: 'exclusive' }, () => undefined)
    expect(one.queue).not.toBe(other.queue)
  })

  test('gets another name when the broker keeps the old one for a connection that was cut off', async () => {
    const queue = named('locked')
    const seen: string[] = []
    const bindings = [{ exchange, routingKey: queue }]
    const consumer = await transport.consume({ queue, type: 'exclusive', bindings }, (message) => {
      seen.push(message.content.toString())
    })
    const nameless = await transport.consume({ type: 'exclusive' }, () => undefined)
    await blackhole('rabbit', nodeInUse(transport), { from: CLIENT_ADDRESS })
    await expect.poll(() => nameless.status().state, POLL).toBe('waiting')
    await expect.poll(() => nameless.status().state, POLL).toBe('active')
    await expect.poll(() => consumer.status().state, POLL).toBe('active')
    await transport.publish(exchange, queue, 'x', { mandatory: true, timeoutMs: 60_000 })
    await expect.poll(() => seen, POLL).toEqual(['x'])
  })
})

describe('a single active consumer', () => {
  test('is followed by the other transport when it goes', async () => {
    const queue = named('single')
    const other = openTransport({ localAddress: '127.0.9.22' })
    const seen = { one: 0, other: 0 }
    try {
      await transport.consume({ queue, singleActiveConsumer: true }, () => void (seen.one += 1))
      await other.consume({ queue, singleActiveConsumer: true }, () => void (seen.other += 1))
      for (let i = 0; i < 20; i += 1) await other.publish('', queue, 'x')
      await expect.poll(() => seen, POLL).toEqual({ one: 20, other: 0 })
      await transport.close()
      for (let i = 0; i < 20; i += 1) await other.publish('', queue, 'x')
      await expect.poll(() => seen, POLL).toEqual({ one: 20, other: 20 })
    } finally {
      await other.close()
    }
  })
})

describe('a quorum queue without a leader', () => {
  test('does not take the other consumers from their connection again and again', async () => {
    const inUse = nodeInUse(transport)
    const away = (inUse % 3) + 1
    const [lost, good] = [named('lost'), named('good')]
    const single = { 'x-quorum-initial-group-size': 1 }
    await onNode(away, async (channel) => {
      await channel.assertQueue(lost, { durable: true, arguments: { ...single, 'x-queue-type': 'quorum' } })
    })
    const seen: string[] = []
    const consumer = await transport.consume({ queue: lost, arguments: single }, (message) => {
      seen.push(message.content.toString())
    })
    await transport.consume({ queue: good }, (message) => void seen.push(message.content.toString()))
    await kill('rabbit', away)
    await reset('rabbit', inUse)
    await expect.poll(() => consumer.status().lastError?.message, POLL).toContain('541')
    await expect.poll(() => transport.status().consumers.map(({ state }) => state), POLL).toEqual(['waiting', 'active'])
    const { since } = transport.status().connections.consumer
    await transport.publish('', good, 'good')
    await expect.poll(() => seen, POLL).toEqual(['good'])
    // Several attempts for the queue without a leader later, everybody else is still where it was.
    await mend()
    await expect.poll(() => consumer.status().state, POLL).toBe('active')
    expect(transport.status().connections.consumer.since).toBe(since)
    await transport.publish('', lost, 'found')
    await expect.poll(() => seen, POLL).toEqual(['good', 'found'])
  })
})

describe('a classic queue', () => {
  test('whose node is down is consumed again when that is back, and harms no other consumer', async () => {
    const inUse = nodeInUse(transport)
    const away = (inUse % 3) + 1
    const [queue, other] = [named('home'), named('other')]
    await onNode(away, async (channel) => {
      await channel.assertQueue(queue, { durable: true })
    })
    const seen: string[] = []
    const consumer = await transport.consume({ queue, type: 'classic' }, (m) => void seen.push(m.content.toString()))
    const innocent = await transport.consume({ queue: other }, () => undefined)
    await transport.publish('', queue, '1')
    await kill('rabbit', away)
    await expect.poll(() => consumer.status().state, POLL).toBe('waiting')
    expect(innocent.status().state).toBe('active')
    await mend()
    await expect.poll(() => consumer.status().state, POLL).toBe('active')
    await transport.publish('', queue, '2')
    await expect.poll(() => seen, POLL).toEqual(['1', '2'])
  })

  test('that ends with its last consumer is made again after a reconnect', async () => {
    const queue = named('auto')
    const seen: string[] = []
    await transport.consume(
      {
        queue,
        type: 'classic',
        durable: false,
        autoDelete: true,
        bindings: [{ exchange: 'amq.topic', routingKey: queue }],
      },
      (message) => void seen.push(message.content.toString()),
    )
    await reconnect()
    await transport.publish('amq.topic', queue, 'x', { mandatory: true })
    await expect.poll(() => seen, POLL).toEqual(['x'])
  })
})
