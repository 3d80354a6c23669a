import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  NotificationResult,
  type AmqpTransport,
  type Notification,
  type NotificationMetadata,
  type NotificationPriority,
} from '../../../src/amqp/index.js'
import { onNode, openTransport, uniqueName } from '../amqp/broker.js'
import { Peer } from './peer.js'

const PRIORITIES: readonly NotificationPriority[] = ['audit', 'debug', 'info', 'warn', 'error', 'critical', 'sample']
const POLL = { timeout: 30_000 }

interface Heard {
  readonly priority: string
  readonly context: unknown
  readonly publisherId: string
  readonly eventType: string
  readonly payload: unknown
  readonly metadata: NotificationMetadata
}

/** Hears every priority. */
function listenTo(heard: Heard[]): Record<string, unknown> {
  const hear =
    (priority: string) =>
    (context: unknown, publisherId: string, eventType: string, payload: unknown, metadata: NotificationMetadata) =>
      void heard.push({ priority, context, publisherId, eventType, payload, metadata })
  return Object.fromEntries(PRIORITIES.map((priority) => [priority, hear(priority)]))
}

describe.each(['messaging', 'messagingv2'] as const)('notifications in the format of %s', (driver) => {
  let transport: AmqpTransport
  let topics: readonly [string, string]

  beforeAll(() => {
    transport = openTransport()
    topics = [uniqueName('n1'), uniqueName('n2')]
  })
  afterAll(async () => {
    await transport.close()
  })

  test('of Node reach a Python listener in every priority and topic, without the token', async () => {
    const listener = await Peer.start('listener', { topics })
    const notifier = transport.notifier({ publisherId: 'node.host1', drivers: [driver], topics })
    try {
      for (const [index, priority] of PRIORITIES.entries()) {
        await notifier[priority]({ user_id: 'u1', auth_token: 't' }, 'test.event', { n: index })
      }
      await listener.next(2 * PRIORITIES.length)
      for (const [index, priority] of PRIORITIES.entries()) {
        const lines = listener.lines.filter((line) => line['priority'] === priority)
        expect(lines).toHaveLength(2)
        expect(lines[0]).toMatchObject({
          context: { user_id: 'u1' },
          publisher: 'node.host1',
          event: 'test.event',
          payload: { n: index },
        })
        expect(lines[0]?.['metadata']).toMatchObject({
          message_id: expect.stringMatching(/^[\da-f-]{36}$/) as string,
          timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?$/) as string,
        })
      }
      expect(JSON.stringify(listener.lines)).not.toContain('auth_token')
    } finally {
      await listener.stop()
    }
  })

  test('of Python reach a Node listener in every priority', async () => {
    const heard: Heard[] = []
    const topic = uniqueName('n3')
    const listener = await transport.notificationListener([{ topic }], listenTo(heard))
    const notifier = await Peer.start('notifier', { driver, topics: [topic] })
    try {
      for (const priority of PRIORITIES) {
        await notifier.ask({ priority, event: 'test.event', payload: { é: priority }, context: { user_id: 'u1' } })
      }
      await expect.poll(() => heard.map(({ priority }) => priority).sort(), POLL).toEqual([...PRIORITIES].sort())
      expect(heard[0]).toMatchObject({
        priority: 'audit',
        publisherId: 'python.host1',
        eventType: 'test.event',
        payload: { é: 'audit' },
        context: { user_id: 'u1' },
      })
      expect(listener.status()).toMatchObject({ handled: 7, failed: 0, malformed: 0 })
    } finally {
      await notifier.stop()
      await listener.close()
    }
  })
})

describe('a listener', () => {
  let transport: AmqpTransport
  let topic: string

  beforeEach(() => {
    transport = openTransport()
    topic = uniqueName('notes')
  })
  afterEach(async () => {
    await transport.close()
  })

  test('in a pool shares with its pool, and takes nothing from others', async () => {
    const heard: Heard[][] = [[], [], []]
    const pool = uniqueName('pool')
    await transport.notificationListener([{ topic }], listenTo(heard[0] as Heard[]), { pool })
    await transport.notificationListener([{ topic }], listenTo(heard[1] as Heard[]), { pool })
    await transport.notificationListener([{ topic }], listenTo(heard[2] as Heard[]))
    const python = await Peer.start('listener', { topics: [topic], pool: uniqueName('pool') })
    try {
      const notifier = transport.notifier({ publisherId: 'p', topics: [topic] })
      await Promise.all(Array.from({ length: 20 }, (_, n) => notifier.info(null, 'e', { n })))
      await expect.poll(() => (heard[0]?.length ?? 0) + (heard[1]?.length ?? 0), POLL).toBe(20)
      await expect.poll(() => heard[2]?.length, POLL).toBe(20)
      await python.next(20)
      expect(heard[0]?.length).toBeGreaterThan(0)
      expect(heard[1]?.length).toBeGreaterThan(0)
    } finally {
      await python.stop()
    }
  })

  test('gets again what it asks for again, and what it failed at, but not for ever', async () => {
    const answers: unknown[] = [NotificationResult.REQUEUE, new Error('once'), NotificationResult.HANDLED]
    const seen: string[] = []
    const info = (_context: unknown, _publisher: unknown, event: string): unknown => {
      seen.push(event)
      if (event === 'poison') throw new Error('poison')
      const answer = answers.shift()
      if (answer instanceof Error) throw answer
      return answer
    }
    const options = { requeueDelayMs: 10, maxRequeues: 3 }
    const listener = await transport.notificationListener([{ topic }], { info }, options)
    const notifier = await Peer.start('notifier', { driver: 'messagingv2', topics: [topic] })
    try {
      await notifier.ask({ priority: 'info', event: 'again', payload: {} })
      await expect.poll(() => listener.status().handled, POLL).toBe(1)
      await notifier.ask({ priority: 'info', event: 'poison', payload: {} })
      await expect.poll(() => listener.status().failed, POLL).toBe(2 + 4)
      await notifier.ask({ priority: 'info', event: 'last', payload: {} })
      await expect.poll(() => listener.status().handled, POLL).toBe(2)
      expect(seen).toEqual(['again', 'again', 'again', 'poison', 'poison', 'poison', 'poison', 'last'])
    } finally {
      await notifier.stop()
    }
  })

  test('of Python gets again what it asks for again', async () => {
    const python = await Peer.start('listener', { topics: [topic], requeues: 1 })
    try {
      await transport.notifier({ publisherId: 'p', topics: [topic] }).error(null, 'e', { n: 1 })
      await python.next(2)
      expect(python.lines.slice(1, 3)).toMatchObject([{ payload: { n: 1 } }, { payload: { n: 1 } }])
    } finally {
      await python.stop()
    }
  })

  test('hears only what its filters want', async () => {
    const heard: string[] = []
    const filter = {
      publisherId: 'compute\\.',
      eventType: /\.end$/,
      payload: { state: 'act' },
      context: { user_id: '.' },
    }
    const info = (_context: unknown, _publisher: unknown, event: string): void => void heard.push(event)
    await transport.notificationListener([{ topic }], [{ filter, info }, { warn: info }])
    const notifier = transport.notifier({ publisherId: 'compute.h1', topics: [topic] })
    const context = { user_id: 'u1' }
    await notifier.info(context, 'vm.start', { state: 'active' })
    await notifier.info(context, 'vm.end', { state: 'inactive' })
    await notifier.info(null, 'vm.end', { state: 'active' })
    await notifier.prepare({ publisherId: 'network.h1' }).info(context, 'vm.end', { state: 'active' })
    await notifier.info(context, 'wanted.end', { state: 'active' })
    await notifier.warn(null, 'done', {})
    await expect.poll(() => [...heard].sort(), POLL).toEqual(['done', 'wanted.end'])
  })

  test('gets batches, full ones and late ones', async () => {
    const batches: (readonly Notification[])[] = []
    const info = (batch: readonly Notification[]): void => void batches.push(batch)
    await transport.notificationListener([{ topic }], { info }, { batchSize: 5, batchTimeoutMs: 500 })
    const notifier = transport.notifier({ publisherId: 'p', topics: [topic] })
    await Promise.all(Array.from({ length: 7 }, (_, n) => notifier.info(null, 'e', { n })))
    await expect.poll(() => batches.map((batch) => batch.length), POLL).toEqual([5, 2])
    expect(new Set(batches.flat().map(({ payload }) => (payload as { n: number }).n)).size).toBe(7)
  })

  test('that comes later finds what was sent before', async () => {
    await transport.notifier({ publisherId: 'p', topics: [topic] }).info(null, 'early', {})
    const heard: Heard[] = []
    await transport.notificationListener([{ topic }], listenTo(heard))
    await expect.poll(() => heard, POLL).toMatchObject([{ eventType: 'early' }])
  })

  test('rejects what is no notification: once, to the dead-letter exchange of the queue', async () => {
    const dead = uniqueName('dead')
    const poison = ['no json', '[]', '{"oslo.version":"3.0","oslo.message":"{}"}']
    await onNode(1, async (channel) => {
      await channel.assertQueue(dead, { durable: true })
      await channel.assertQueue(`${topic}.info`, {
        durable: false,
        arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead },
      })
    })
    const listener = await transport.notificationListener([{ topic }], listenTo([]))
    await onNode(1, async (channel) => {
      for (const body of poison) {
        channel.sendToQueue(`${topic}.info`, Buffer.from(body), { contentType: 'application/json' })
      }
      const count = async (): Promise<number> => (await channel.checkQueue(dead)).messageCount
      await expect.poll(count, POLL).toBe(poison.length)
      await channel.deleteQueue(dead)
    })
    expect(listener.status()).toMatchObject({ handled: 0, failed: 0, malformed: poison.length })
  })

  test('drops what is no notification', async () => {
    const heard: Heard[] = []
    const listener = await transport.notificationListener([{ topic }], listenTo(heard))
    const poison = [
      '',
      'no json',
      '[]',
      '{"oslo.version":"3.0","oslo.message":"{}"}',
      '{"oslo.version":"2.0","oslo.message":5}',
    ]
    await onNode(1, async (channel) => {
      for (const body of poison) {
        channel.publish('openstack', `${topic}.info`, Buffer.from(body), { contentType: 'application/json' })
      }
      channel.publish('openstack', `${topic}.info`, Buffer.from('{}'), {
        contentType: 'application/json; charset=utf-8',
      })
      await channel.assertQueue('', { exclusive: true })
    })
    await expect.poll(() => listener.status().malformed, POLL).toBe(6)
    await transport.notifier({ publisherId: 'p', topics: [topic] }).info(null, 'after', {})
    await expect.poll(() => heard.length, POLL).toBe(1)
    expect(listener.status()).toMatchObject({ handled: 1, failed: 0 })
  })
})
