import { describe, expect, test, vi } from 'vitest'
import { Channel } from '../../../src/amqp/channel.js'
import { newCounters } from '../../../src/amqp/counters.js'
import { Deliveries, type MessageHandler } from '../../../src/amqp/deliveries.js'
import type { FailurePolicy } from '../../../src/amqp/failures.js'
import type { Message } from '../../../src/amqp/message.js'
import { resolveSubscription, type ResolvedSubscription, type Subscription } from '../../../src/amqp/subscription.js'
import { Deferred } from '../../../src/core/timing.js'
import { settle, StubChannel, stubDelivery, stubRedelivery } from '../../helpers/stub-amqp.js'

function setUp(
  handler: MessageHandler,
  subscription: Partial<Subscription> = {},
  more: Pick<ResolvedSubscription, 'refuses'> = {},
) {
  const counters = newCounters()
  const resolved = { ...resolveSubscription({ queue: 'q', requeueDelayMs: 0, ...subscription }, 64), ...more }
  const deliveries = new Deliveries(resolved, handler, { counters })
  const raw = new StubChannel()
  return { counters, deliveries, raw, channel: new Channel(raw, 'h1:5672', () => undefined) }
}

describe('deliveries', () => {
  test('are acknowledged when the handler has resolved', async () => {
    const gate = new Deferred<void>()
    const { deliveries, raw, channel } = setUp(() => gate.promise)
    const message = stubDelivery(1)
    deliveries.accept(message, channel)
    await settle()
    expect(raw.acked).toEqual([])
    gate.resolve()
    await settle()
    expect(raw.acked).toEqual([message])
  })

  test('go back five times when the handler fails, by a throw or a rejection, and are then rejected', async () => {
    const handler = vi.fn<MessageHandler>().mockImplementationOnce(() => {
      throw new Error('bad')
    })
    handler.mockRejectedValue(new Error('bad'))
    const { deliveries, raw, channel } = setUp(handler)
    deliveries.accept(stubDelivery(1, 'x', { messageId: 'm' }), channel)
    await settle()
    for (let tag = 2; tag <= 6; tag += 1) {
      deliveries.accept(stubRedelivery(tag, 'x', { messageId: 'm' }), channel)
      await settle()
    }
    expect(raw.nacked.map(({ requeue }) => requeue)).toEqual([true, true, true, true, true, false])
    expect(raw.acked).toEqual([])
  })

  test('without an id are told apart by what they say', async () => {
    const { deliveries, raw, channel } = setUp(() => Promise.reject(new Error('bad')), { maxRequeues: 1 })
    for (const body of ['a', 'b']) deliveries.accept(stubDelivery(1, body), channel)
    await settle()
    for (const body of ['a', 'b']) deliveries.accept(stubRedelivery(2, body), channel)
    await settle()
    expect(raw.nacked.map(({ requeue }) => requeue)).toEqual([true, true, false, false])
  })

  test('without an id, of which many say the same, have failed no more often than their queue got them back', async () => {
    const { deliveries, raw, channel } = setUp(() => Promise.reject(new Error('down')), { maxRequeues: 1 })
    for (let tag = 1; tag <= 9; tag += 1) deliveries.accept(stubDelivery(tag, 'run'), channel)
    await settle()
    expect(raw.nacked.map(({ requeue }) => requeue)).toEqual(Array.from({ length: 9 }, () => true))
    deliveries.accept(stubRedelivery(10, 'run', { headers: { 'x-delivery-count': 1 } }), channel)
    deliveries.accept(stubDelivery(11, 'run'), channel)
    deliveries.accept(stubRedelivery(12, 'run', { headers: { 'x-delivery-count': 1 } }), channel)
    await settle()
    expect(raw.nacked.slice(9).map(({ requeue }) => requeue)).toEqual([false, true, false])
  })

  test('run at most as many handlers at a time as allowed', async () => {
    const gates = [new Deferred<void>(), new Deferred<void>()]
    let started = 0
    const { deliveries, channel } = setUp(() => gates[started++]?.promise, { concurrency: 1 })
    deliveries.accept(stubDelivery(1), channel)
    deliveries.accept(stubDelivery(2), channel)
    await settle()
    expect(started).toBe(1)
    gates[0]?.resolve()
    await settle()
    expect(started).toBe(2)
  })

  test('of an ended channel are never acknowledged, and their signal says so', async () => {
    const gate = new Deferred<void>()
    let signal: AbortSignal | undefined
    const { deliveries, raw, channel, counters } = setUp((message) => {
      signal = message.signal
      return gate.promise
    })
    channel.ending.on(({ error }) => deliveries.takeAway(channel, error))
    deliveries.accept(stubDelivery(1), channel)
    await settle()
    raw.emit('close')
    expect(signal?.aborted).toBe(true)
    expect(signal?.reason).toMatchObject({ code: 'HA_CONNECTION_LOST' })
    gate.resolve()
    await settle()
    expect(raw.acked).toEqual([])
    expect(counters.staleAcks).toBe(1)
  })

  test('that wait for a handler are dropped with their channel', async () => {
    const gate = new Deferred<void>()
    const seen: string[] = []
    const handler: MessageHandler = (message) => {
      seen.push(message.content.toString())
      return gate.promise
    }
    const { deliveries, channel } = setUp(handler, { concurrency: 1 })
    deliveries.accept(stubDelivery(1, 'a'), channel)
    deliveries.accept(stubDelivery(2, 'b'), channel)
    deliveries.takeAway(channel, new Error('gone'))
    gate.resolve()
    await settle()
    expect(seen).toEqual(['a'])
  })

  test('are drained: running ones finish, waiting and paused ones go back at once', async () => {
    const gate = new Deferred<void>()
    const handler: MessageHandler = (message) =>
      message.content.toString() === 'bad' ? Promise.reject(new Error('bad')) : gate.promise
    const { deliveries, raw, channel } = setUp(handler, { concurrency: 2, requeueDelayMs: 60_000 })
    deliveries.accept(stubDelivery(1, 'bad'), channel)
    await settle()
    for (const tag of [2, 3, 4]) deliveries.accept(stubDelivery(tag), channel)
    await settle()
    expect(raw.nacked).toEqual([])
    const drained = deliveries.drain()
    expect(raw.nacked.map(({ message }) => message.fields.deliveryTag)).toEqual([4, 1])
    gate.resolve()
    await drained
    expect(raw.acked.map(({ fields }) => fields.deliveryTag)).toEqual([2, 3])
  })
})

describe('a failed message', () => {
  test.each<[string, Partial<Subscription>, object]>([
    ['is rejected at once where that is asked for', { onFailure: 'reject' }, { nacked: [false], acked: 0 }],
    ['is dropped when the policy says so', { onFailure: () => 'ack' }, { nacked: [], acked: 1 }],
    ['goes back after the pause', { requeueDelayMs: 20 }, { nacked: [true], acked: 0 }],
    [
      'follows the default when the policy throws',
      {
        onFailure: () => {
          throw new Error('policy')
        },
      },
      { nacked: [true], acked: 0 },
    ],
  ])('%s', async (_, subscription, expected) => {
    const { deliveries, raw, channel } = setUp(() => Promise.reject(new Error('bad')), subscription)
    deliveries.accept(stubDelivery(1), channel)
    const got = () => ({ nacked: raw.nacked.map(({ requeue }) => requeue), acked: raw.acked.length })
    await expect.poll(got).toEqual(expected)
    expect(channel.isSettled).toBe(true)
  })

  test('tells its policy what failed and how often', async () => {
    const onFailure = vi.fn<FailurePolicy>(() => 'requeue')
    const error = new Error('bad')
    const { deliveries, channel } = setUp(() => Promise.reject(error), { onFailure })
    deliveries.accept(stubDelivery(1), channel)
    await settle()
    deliveries.accept(stubRedelivery(2), channel)
    await settle()
    expect(onFailure.mock.calls.map(([failure]) => failure)).toMatchObject([
      { error, failures: 1 },
      { error, failures: 2, message: { routingKey: 'k' } },
    ])
  })
})

describe('a message that is acknowledged before it is handled', () => {
  test('is not taken away by the end of its channel, and its failure has no consequence', async () => {
    const gate = new Deferred<void>()
    let signal: AbortSignal | undefined
    const handler: MessageHandler = (message) => {
      signal = message.signal
      return gate.promise
    }
    const { deliveries, raw, channel, counters } = setUp(handler, { acknowledge: 'before' })
    channel.ending.on(({ error }) => deliveries.takeAway(channel, error))
    deliveries.accept(stubDelivery(1), channel)
    expect(raw.acked).toHaveLength(1)
    raw.emit('close')
    expect(signal?.aborted).toBe(false)
    gate.reject(new Error('bad'))
    await settle()
    expect(raw.nacked).toEqual([])
    expect(counters.staleAcks).toBe(0)
    expect(deliveries.failedCount).toBe(1)
  })
})

describe.each(['before', 'after'] as const)(
  'a message that is refused, where others are acknowledged %s',
  (acknowledge) => {
    const isBad = (message: Message): boolean => message.content.toString() === 'bad'

    test('is rejected for good, and neither acknowledged nor handled', async () => {
      const handled: string[] = []
      const handler: MessageHandler = (message) => void handled.push(message.content.toString())
      const { deliveries, raw, channel } = setUp(handler, { acknowledge }, { refuses: isBad })
      deliveries.accept(stubDelivery(1, 'bad'), channel)
      deliveries.accept(stubDelivery(2, 'good'), channel)
      await settle()
      expect(handled).toEqual(['good'])
      expect(raw.nacked).toMatchObject([{ requeue: false }])
      expect(raw.acked).toHaveLength(1)
      expect(deliveries.failedCount).toBe(0)
      expect(channel.isSettled).toBe(true)
    })

    test('keeps nobody from being handled', async () => {
      const gate = new Deferred<void>()
      const { deliveries, raw, channel } = setUp(
        () => gate.promise,
        { acknowledge, concurrency: 1 },
        { refuses: isBad },
      )
      for (const [tag, body] of ['good', 'bad', 'bad', 'good'].entries()) {
        deliveries.accept(stubDelivery(tag, body), channel)
      }
      await settle()
      expect(raw.nacked).toEqual([])
      gate.resolve()
      await settle()
      expect(raw.nacked).toHaveLength(2)
      expect(raw.acked).toHaveLength(2)
      await deliveries.drain()
    })
  },
)

describe('the signal of a message', () => {
  test('fires at the end of the consumer, also for one who looks later', async () => {
    const gate = new Deferred<void>()
    const messages: Message[] = []
    const { deliveries, channel } = setUp((message) => {
      messages.push(message)
      return gate.promise
    })
    deliveries.accept(stubDelivery(1), channel)
    const reason = new Error('closed')
    deliveries.end(reason)
    expect(messages[0]?.signal).toMatchObject({ aborted: true, reason })
    gate.resolve()
    await settle()
    expect(deliveries.runningCount).toBe(0)
  })
})

describe('a subscription', () => {
  test.each<[string, object]>([
    ['queue', {}],
    ['queue', { queue: '' }],
    ['queue', { queue: 'q'.repeat(256) }],
    ['type', { queue: 'q', type: 'mirrored' }],
    ['queue', { type: 'quorum' }],
    ['autoDelete', { queue: 'q', autoDelete: true }],
    ['durable', { queue: 'q', type: 'stream', durable: false }],
    ['singleActiveConsumer', { queue: 'q', type: 'stream', singleActiveConsumer: true }],
    ['passive', { queue: 'q', type: 'exclusive', passive: true }],
    ['offset', { queue: 'q', offset: 'first' }],
    ['offset', { queue: 'q', type: 'stream', offset: -1 }],
    ['offset', { queue: 'q', type: 'stream', offset: new Date(Number.NaN) }],
    ['acknowledge', { queue: 'q', acknowledge: 'never' }],
    ['onFailure', { queue: 'q', onFailure: 'retry' }],
    ['dedupe', { queue: 'q', dedupe: true }],
    ['dedupe.maxIds', { queue: 'q', dedupe: { maxIds: 0 } }],
    ['priority', { queue: 'q', priority: 0.5 }],
    ['durable', { queue: 'q', durable: false }],
    ['bindings', { queue: 'q', bindings: 'events' }],
    ['bindings', { queue: 'q', bindings: [{ exchange: '' }] }],
    ['bindings', { queue: 'q', bindings: [{ exchange: 'e', type: 'tropic' }] }],
    ['prefetch', { queue: 'q', prefetch: 0 }],
    ['concurrency', { queue: 'q', concurrency: 0.5 }],
    ['maxRequeues', { queue: 'q', maxRequeues: -1 }],
    ['requeueDelayMs', { queue: 'q', requeueDelayMs: Number.NaN }],
    ['prefech', { queue: 'q', prefech: 1 }],
  ])('is refused at once for a bad %s', (option, subscription) => {
    expect(() => resolveSubscription(subscription as Subscription, 64)).toThrow(
      expect.objectContaining({ code: 'HA_INVALID_OPTION', option }) as Error,
    )
  })
})
