import { describe, expect, test, vi } from 'vitest'
import { Channel } from '../../../src/amqp/channel.js'
import { newCounters } from '../../../src/amqp/counters.js'
import { Deliveries, type MessageHandler } from '../../../src/amqp/deliveries.js'
import type { DriverMessage } from '../../../src/amqp/driver.js'
import { QueueMemories, QueueMemory } from '../../../src/amqp/queue-memory.js'
import { RecentIds } from '../../../src/amqp/recent-ids.js'
import { resolveSubscription, type Subscription } from '../../../src/amqp/subscription.js'
import { Deferred } from '../../../src/core/timing.js'
import { settle, StubChannel, stubDelivery } from '../../helpers/stub-amqp.js'

const LIMITS = { maxIds: 100, ttlMs: 60_000 }

function consumer(handler: MessageHandler, memory = new QueueMemory(LIMITS), subscription: Partial<Subscription> = {}) {
  const counters = newCounters()
  const resolved = resolveSubscription({ queue: 'q', requeueDelayMs: 0, ...subscription }, 64)
  const deliveries = new Deliveries(resolved, handler, { counters, memory })
  const open = () => {
    const raw = new StubChannel()
    const channel = new Channel(raw, 'h1:5672', () => undefined)
    channel.ending.on(({ error }) => deliveries.takeAway(channel, error))
    return { raw, channel, accept: (message: DriverMessage) => deliveries.accept(message, channel) }
  }
  return { counters, deliveries, memory, open }
}

const first = (tag: number, id = 'm'): DriverMessage => stubDelivery(tag, 'x', { messageId: id })
const redelivered = (tag: number, id = 'm'): DriverMessage => {
  const message = first(tag, id)
  return { ...message, fields: { ...message.fields, redelivered: true } }
}
const resent = (tag: number, id = 'm'): DriverMessage =>
  stubDelivery(tag, 'x', { messageId: id, headers: { 'x-openstack-ha-attempt': 2 } })
const tags = (messages: readonly DriverMessage[]): number[] => messages.map(({ fields }) => fields.deliveryTag)

describe('a message that comes twice', () => {
  test.each([
    ['redelivered', first(1), redelivered(2)],
    ['sent again', first(1), resent(2)],
    ['sent again, the later copy first', resent(1), first(2)],
  ])('%s, is handled once and acknowledged twice', async (_, one, other) => {
    const handler = vi.fn<MessageHandler>()
    const { open, counters, deliveries } = consumer(handler)
    const { raw, accept } = open()
    accept(one)
    accept(other)
    await settle()
    expect(handler).toHaveBeenCalledTimes(1)
    expect(tags(raw.acked)).toEqual([1, 2])
    expect(counters.duplicates).toBe(1)
    expect(deliveries).toMatchObject({ duplicateCount: 1, ackedCount: 2 })
  })

  test.each([
    ['sent again, whose first copy was held by a frozen node', resent(1, 'held'), first(1, 'held'), false],
    ['acknowledged just before its channel was lost', first(1, 'held'), redelivered(1, 'held'), true],
  ])('%s, is not handled again, however many come between', async (_, one, other, isLost) => {
    const handler = vi.fn<MessageHandler>()
    const { open } = consumer(handler, undefined, { prefetch: 10 })
    const [old, next] = [open(), open()]
    old.accept(one)
    if (isLost) old.raw.emit('close')
    for (let i = 0; i < 1000; i += 1) next.accept(first(1, `m${String(i)}`))
    next.accept(other)
    await settle()
    expect(handler).toHaveBeenCalledTimes(1001)
  })

  test('with an id that its publisher used twice, is two messages', () => {
    const handler = vi.fn<MessageHandler>()
    const { accept } = consumer(handler).open()
    accept(first(1))
    accept(first(2))
    accept({ ...redelivered(3), properties: { headers: {} } })
    accept({ ...redelivered(4), properties: { headers: {} } })
    expect(handler).toHaveBeenCalledTimes(4)
  })

  test('while its first copy is being handled, waits for it and is acknowledged with it', async () => {
    const gate = new Deferred<void>()
    const handler = vi.fn<MessageHandler>(() => gate.promise)
    const { raw, accept } = consumer(handler).open()
    accept(first(1))
    accept(redelivered(2))
    await settle()
    expect(raw.acked).toEqual([])
    gate.resolve()
    await settle()
    expect(handler).toHaveBeenCalledTimes(1)
    expect(tags(raw.acked)).toEqual([1, 2])
  })

  test('while its first copy waits for a handler, waits too', async () => {
    const gate = new Deferred<void>()
    const handler = vi.fn<MessageHandler>(() => gate.promise)
    const { raw, accept } = consumer(handler, undefined, { concurrency: 1 }).open()
    accept(first(1, 'other'))
    accept(first(2))
    accept(redelivered(3))
    gate.resolve()
    await settle()
    expect(handler).toHaveBeenCalledTimes(2)
    expect(tags(raw.acked)).toEqual([1, 2, 3])
  })

  test('shares the failure of its first copy, and is handled again when it comes back', async () => {
    const handler = vi.fn<MessageHandler>().mockRejectedValueOnce(new Error('bad'))
    const { raw, accept } = consumer(handler).open()
    accept(first(1))
    accept(redelivered(2))
    await settle()
    expect(raw.nacked.map(({ message, requeue }) => [message.fields.deliveryTag, requeue])).toEqual([
      [1, true],
      [2, true],
    ])
    accept(redelivered(3))
    await settle()
    expect(handler).toHaveBeenCalledTimes(2)
    expect(tags(raw.acked)).toEqual([3])
  })

  test('on the next connection, while the first is still being handled, is acknowledged there', async () => {
    const gate = new Deferred<void>()
    const handler = vi.fn<MessageHandler>(() => gate.promise)
    const { open, counters } = consumer(handler)
    const [old, next] = [open(), open()]
    old.accept(first(1))
    old.raw.emit('close')
    next.accept(redelivered(1))
    gate.resolve()
    await settle()
    expect(handler).toHaveBeenCalledTimes(1)
    expect(old.raw.acked).toEqual([])
    expect(tags(next.raw.acked)).toEqual([1])
    expect(counters).toMatchObject({ staleAcks: 1, duplicates: 1 })
  })

  test('is handled at once when its first copy gave up because it was taken away', async () => {
    const handler = vi
      .fn<MessageHandler>()
      .mockImplementationOnce(
        ({ signal }) =>
          new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
      )
    const { open, deliveries } = consumer(handler)
    const [old, next] = [open(), open()]
    old.accept(first(1))
    next.accept(redelivered(1))
    old.raw.emit('close')
    await settle()
    expect(handler).toHaveBeenCalledTimes(2)
    expect(tags(next.raw.acked)).toEqual([1])
    // A second verdict on one message would end the channel.
    await deliveries.drain()
    expect(next.raw.nacked).toEqual([])
  })

  test('is handled when its first copy was taken away before its turn', async () => {
    const gate = new Deferred<void>()
    const handler = vi.fn<MessageHandler>(() => gate.promise)
    const { open } = consumer(handler, undefined, { concurrency: 1 })
    const [old, next] = [open(), open()]
    next.accept(first(1, 'other'))
    old.accept(first(1))
    next.accept(redelivered(2))
    old.raw.emit('close')
    gate.resolve()
    await settle()
    expect(handler).toHaveBeenCalledTimes(2)
    expect(tags(next.raw.acked)).toEqual([1, 2])
  })

  test('at two consumers of one queue, is handled by one of them', async () => {
    const gate = new Deferred<void>()
    const one = consumer(() => gate.promise)
    const handler = vi.fn<MessageHandler>()
    const other = consumer(handler, one.memory)
    const [a, b] = [one.open(), other.open()]
    a.accept(first(1))
    b.accept(redelivered(1))
    await settle()
    expect(b.raw.acked).toEqual([])
    gate.resolve()
    await settle()
    expect(tags(b.raw.acked)).toEqual([1])
    expect(handler).not.toHaveBeenCalled()
  })

  test('is given back when its consumer is closed before its first copy is done', async () => {
    const one = consumer(() => new Promise(() => undefined))
    const other = consumer(() => undefined, one.memory)
    const [a, b] = [one.open(), other.open()]
    a.accept(first(1))
    b.accept(redelivered(1))
    await other.deliveries.drain()
    expect(b.raw.nacked).toMatchObject([{ requeue: true }])
  })

  test('is known after its consumer was closed in the middle of the first copy', async () => {
    const gate = new Deferred<void>()
    const one = consumer(() => gate.promise)
    const handler = vi.fn<MessageHandler>()
    const other = consumer(handler, one.memory)
    one.open().accept(first(1))
    one.deliveries.end(new Error('closed'))
    expect(one.memory.unusedMs).toBe(0)
    const { raw, accept } = other.open()
    accept(redelivered(1))
    gate.resolve()
    await settle()
    expect(handler).not.toHaveBeenCalled()
    expect(tags(raw.acked)).toEqual([1])
  })

  test('is acknowledged at once if its first copy was acknowledged before it was handled', async () => {
    const handler = vi.fn<MessageHandler>(() => new Promise(() => undefined))
    const { raw, accept } = consumer(handler, undefined, { acknowledge: 'before' }).open()
    accept(first(1))
    accept(redelivered(2))
    await settle()
    expect(tags(raw.acked)).toEqual([1, 2])
    expect(handler).toHaveBeenCalledTimes(1)
  })
})

describe('the memory', () => {
  test('holds no more ids than allowed, and the latest half at least', () => {
    const ids = new RecentIds(10, 60_000)
    for (let i = 0; i < 100; i += 1) ids.add(i)
    const known = Array.from({ length: 100 }, (_, i) => i).filter((i) => ids.has(i))
    expect(known.length).toBeLessThanOrEqual(10)
    expect(known).toEqual(expect.arrayContaining([95, 96, 97, 98, 99]))
  })

  test('forgets an id after its time, whether others come or not', () => {
    vi.useFakeTimers()
    try {
      const ids = new RecentIds(1000, 1000)
      ids.add('a')
      vi.advanceTimersByTime(499)
      expect(ids.has('a')).toBe(true)
      vi.advanceTimersByTime(1)
      ids.add('b')
      expect(ids.has('a')).toBe(true)
      vi.advanceTimersByTime(500)
      expect([ids.has('a'), ids.has('b')]).toEqual([false, true])
      vi.advanceTimersByTime(5000)
      expect(ids.has('b')).toBe(false)
    } finally {
      vi.useRealTimers()
    }
  })

  test('of a queue outlives its consumers for its time, of a hundred queues at most', () => {
    vi.useFakeTimers()
    try {
      const memories = new QueueMemories()
      const memory = memories.of('q', LIMITS)
      const worker = { find: () => undefined }
      memory.join(worker)
      vi.advanceTimersByTime(2 * LIMITS.ttlMs)
      expect(memories.of('q', LIMITS)).toBe(memory)
      memory.leave(worker)
      vi.advanceTimersByTime(1000)
      expect(memories.of('q', LIMITS)).toBe(memory)
      vi.advanceTimersByTime(LIMITS.ttlMs)
      expect(memories.of('q', LIMITS)).not.toBe(memory)
      const later = memories.of('later', LIMITS)
      for (let i = 0; i < 110; i += 1) {
        memories.of(String(i), LIMITS)
        vi.advanceTimersByTime(1)
      }
      expect(memories.of('later', LIMITS)).not.toBe(later)
    } finally {
      vi.useRealTimers()
    }
  })
})
