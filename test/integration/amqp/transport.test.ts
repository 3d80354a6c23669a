import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { AmqpTransport, Message } from '../../../src/amqp/index.js'
import { Deferred } from '../../../src/core/timing.js'
import { alarm } from '../../cluster/index.js'
import { cleanUp, mend, nodeInUse, onNode, openTransport, uniqueName } from './broker.js'

const POLL = { timeout: 20_000 }
let transport: AmqpTransport
const made: string[] = []

/** A name that is cleaned up after the tests. */
function named(what: string): string {
  const name = uniqueName(what)
  made.push(name)
  return name
}

beforeEach(() => {
  transport = openTransport()
})
afterEach(async () => {
  await transport.close()
})
afterAll(() => cleanUp(made))

describe('publish', () => {
  test('reaches the queues that are bound to an exchange, with properties, headers and JSON', async () => {
    const [exchange, queue] = [named('events'), named('audit')]
    const messages: Message[] = []
    const bindings = [{ exchange, type: 'topic', routingKey: 'vm.*' }] as const
    await transport.consume({ queue, type: 'quorum', bindings }, (message) => void messages.push(message))
    await transport.publish(exchange, 'vm.created', { id: 7 }, { headers: { tenant: 'a' }, correlationId: 'c' })
    await transport.publish(exchange, 'net.created', 'not for us')
    await transport.publish(exchange, 'vm.deleted', Buffer.from('bytes'), { messageId: 'own-id' })
    await expect.poll(() => messages.length, POLL).toBe(2)
    expect(messages[0]?.json()).toEqual({ id: 7 })
    expect(messages[0]).toMatchObject({ routingKey: 'vm.created', redelivered: false, headers: { tenant: 'a' } })
    expect(messages[0]?.properties).toMatchObject({
      contentType: 'application/json',
      correlationId: 'c',
      deliveryMode: 2,
    })
    expect(messages[1]).toMatchObject({ content: Buffer.from('bytes'), properties: { messageId: 'own-id' } })
  })

  test('many at once take few system calls', async () => {
    const queue = named('gathered')
    await transport.declare({ queues: [{ name: queue }] })
    await transport.publish('', queue, 'first')
    const spies = (['_write', '_writev'] as const).map((name) => vi.spyOn(Socket.prototype as Duplex, name))
    await Promise.all(Array.from({ length: 100 }, (_, i) => transport.publish('', queue, `${i}`)))
    const count = spies.reduce((sum, { mock }) => sum + mock.calls.length, 0)
    vi.restoreAllMocks()
    expect(count).toBeGreaterThan(0)
    // Probes and heartbeats of the three connections beside.
    expect(count).toBeLessThan(20)
  })

  test('to a queue that does not exist rejects, unless the caller does not mind', async () => {
    await expect(transport.publish('', named('nowhere'), 'x')).rejects.toMatchObject({
      code: 'HA_UNROUTABLE',
      replyCode: 312,
    })
    await transport.publish('', named('nowhere'), 'x', { mandatory: false })
    expect(transport.status().counters).toMatchObject({ returned: 1, confirmed: 1 })
  })

  test('to an unknown exchange rejects its own callers only', async () => {
    const queue = named('innocent')
    const seen: string[] = []
    await transport.consume({ queue }, (message) => void seen.push(message.content.toString()))
    const good = Array.from({ length: 200 }, (_, i) => transport.publish('', queue, String(i)))
    const bad = Array.from({ length: 5 }, () => transport.publish('no-such-exchange', 'k', 'x'))
    good.push(...Array.from({ length: 200 }, (_, i) => transport.publish('', queue, String(200 + i))))
    const results = await Promise.allSettled(bad)
    for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: { code: 404 } })
    await Promise.all(good)
    await expect.poll(() => new Set(seen).size, POLL).toBe(400)
    expect(transport.status().availability.outageCount).toBe(0)
  })

  test('declares the exchange when it is told its type, also after somebody deleted it', async () => {
    const [exchange, queue] = [named('made'), named('bound')]
    await transport.publish(exchange, 'k', 'x', { exchangeType: 'fanout' })
    const seen: string[] = []
    await transport.consume(
      { queue, bindings: [{ exchange, type: 'fanout' }] },
      (message) => void seen.push(message.content.toString()),
    )
    await onNode(1, (channel) => channel.deleteExchange(exchange))
    await transport.publish(exchange, 'k', 'y', { mandatory: true })
    await expect.poll(() => seen, POLL).toEqual(['y'])
  })

  test('rejects when the exchange exists with another type', async () => {
    const error = transport.publish('amq.topic', 'k', 'x', { exchangeType: 'fanout' })
    await expect(error).rejects.toMatchObject({ code: 406 })
    await transport.publish('amq.topic', 'k', 'x')
  })

  test('waits while the broker is short of memory, and goes on', async () => {
    const queue = named('blocked')
    await transport.ready()
    await onNode(1, (channel) => channel.assertQueue(queue, { durable: true }))
    await alarm(nodeInUse(transport), true)
    try {
      const first = transport.publish('', queue, 'x', { timeoutMs: 60_000 })
      await expect.poll(() => transport.status().connections.publisher.isBlocked, POLL).toBe(true)
      const second = transport.publish('', queue, 'x', { timeoutMs: 60_000 })
      await expect(transport.publish('', queue, 'x', { timeoutMs: 3000 })).rejects.toMatchObject({
        code: 'HA_TIMEOUT',
        safeToRetry: true,
        message: expect.stringContaining('takes no messages') as string,
      })
      await alarm(nodeInUse(transport), false)
      await Promise.all([first, second])
    } finally {
      await mend()
    }
    expect(transport.status().availability.outageCount).toBe(0)
  })
})

describe('consume', () => {
  test('delivers again what a handler threw at, and dead-letters it in the end', async () => {
    const [queue, dead] = [named('poison'), named('dead')]
    const letters: Message[] = []
    await transport.consume({ queue: dead }, (message) => void letters.push(message))
    let attempts = 0
    const consumer = await transport.consume(
      {
        queue,
        arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead },
        maxRequeues: 2,
        requeueDelayMs: 10,
      },
      () => {
        attempts += 1
        throw new Error('poison')
      },
    )
    await transport.publish('', queue, 'x')
    await expect.poll(() => letters.length, POLL).toBe(1)
    expect(attempts).toBe(3)
    expect(consumer.status()).toMatchObject({ failed: 3, acked: 0, lastError: { message: 'poison' } })
  })

  test('makes a queue again that somebody deleted, with its bindings', async () => {
    const queue = named('deleted')
    const seen: string[] = []
    const consumer = await transport.consume(
      { queue, bindings: [{ exchange: 'amq.topic', routingKey: queue }] },
      (message) => void seen.push(message.content.toString()),
    )
    await onNode(1, (channel) => channel.deleteQueue(queue))
    const publish = (): Promise<boolean> =>
      transport.publish('amq.topic', queue, 'again', { mandatory: true }).then(
        () => true,
        () => false,
      )
    await expect.poll(publish, POLL).toBe(true)
    await expect.poll(() => consumer.status().state, POLL).toBe('active')
    await expect.poll(() => seen, POLL).toEqual(['again'])
  })

  test('rejects at once for a queue of another kind, and harms no other consumer', async () => {
    const [queue, other] = [named('classic'), named('other')]
    const consumer = await transport.consume({ queue: other }, () => undefined)
    await onNode(1, (channel) => channel.assertQueue(queue, { durable: true }))
    await expect(transport.consume({ queue, type: 'quorum' }, () => undefined)).rejects.toMatchObject({ code: 406 })
    await expect(transport.consume({ queue: named('missing'), passive: true }, () => undefined)).rejects.toMatchObject({
      code: 404,
    })
    expect(consumer.status().state).toBe('active')
    expect(transport.status().consumers).toHaveLength(1)
  })

  test('closes gracefully: running handlers finish and are acknowledged, the rest stays in the queue', async () => {
    const queue = named('drained')
    const gate = new Deferred<void>()
    const consumer = await transport.consume({ queue, concurrency: 1, prefetch: 5 }, () => gate.promise)
    await Promise.all(['a', 'b', 'c'].map((body) => transport.publish('', queue, body)))
    await expect.poll(() => consumer.status().delivered, POLL).toBe(3)
    const closed = consumer.close()
    expect(consumer.status().state).toBe('closing')
    gate.resolve()
    await closed
    expect(consumer.status()).toMatchObject({ state: 'closed', acked: 1, running: 0 })
    await expect.poll(async () => (await onNode(1, (channel) => channel.checkQueue(queue))).messageCount, POLL).toBe(2)
  })
})

describe('the end', () => {
  test('by close() confirms what was published and lets handlers finish', async () => {
    const queue = named('closing')
    const gate = new Deferred<void>()
    let isDone = false
    await transport.consume({ queue }, async () => {
      await gate.promise
      isDone = true
    })
    await transport.publish('', queue, 'x')
    await expect.poll(() => transport.status().consumers[0]?.running, POLL).toBe(1)
    const late = transport.publish('', named('nowhere'), 'y', { mandatory: false })
    const closed = transport.close()
    gate.resolve()
    await Promise.all([closed, late])
    expect(isDone).toBe(true)
    expect(await onNode(1, (channel) => channel.checkQueue(queue))).toMatchObject({ messageCount: 0 })
  })
})

describe('a refusal', () => {
  test.each([
    ['a wrong password', { password: 's3cret' }, 403],
    ['an unknown virtual host', { vhost: 'no-such-vhost' }, 530],
  ])('for %s ends ready(), publish() and consume() soon, with the reason', async (_, options, code) => {
    const refused = openTransport(options)
    try {
      const work = [refused.ready(), refused.publish('', 'q', 'x'), refused.consume({ queue: 'q' }, () => undefined)]
      const startedAt = performance.now()
      const results = await Promise.allSettled(work)
      expect(performance.now() - startedAt).toBeLessThan(1000)
      for (const result of results) {
        expect(result).toMatchObject({ status: 'rejected', reason: { code: 'HA_ACCESS_REFUSED', replyCode: code } })
      }
      expect(inspect([results, refused.status()], { depth: 20 })).not.toContain('s3cret')
    } finally {
      await refused.close()
    }
  })
})
