import { describe, expect, test, vi } from 'vitest'
import { Channel } from '../../../src/amqp/channel.js'
import { newCounters } from '../../../src/amqp/counters.js'
import { Deliveries, type MessageHandler } from '../../../src/amqp/deliveries.js'
import { QueueMemory } from '../../../src/amqp/queue-memory.js'
import { offsetArgument, StreamPosition } from '../../../src/amqp/stream-position.js'
import { resolveSubscription } from '../../../src/amqp/subscription.js'
import { Deferred } from '../../../src/core/timing.js'
import { settle, StubChannel, stubDelivery } from '../../helpers/stub-amqp.js'

function consumer(handler: MessageHandler) {
  const resolved = resolveSubscription({ queue: 'q', type: 'stream', requeueDelayMs: 0, maxRequeues: 2 }, 64)
  const position = new StreamPosition('first')
  const memory = new QueueMemory({ maxIds: 100, ttlMs: 60_000 })
  const deliveries = new Deliveries(resolved, handler, { counters: newCounters(), position, memory })
  const open = () => {
    const raw = new StubChannel()
    const channel = new Channel(raw, 'h1:5672', () => undefined)
    channel.ending.on(({ error }) => deliveries.takeAway(channel, error))
    const accept = (offset: number): void =>
      deliveries.accept(stubDelivery(offset, 'x', { headers: { 'x-stream-offset': offset } }), channel)
    return { raw, channel, accept }
  }
  return { deliveries, position, open }
}

const tagsOf = (raw: StubChannel): number[] => raw.acked.map(({ fields }) => fields.deliveryTag)

describe('a consumer of a stream', () => {
  test('goes on at the oldest message that was not finished, and handles none twice that was', async () => {
    const gates = new Map<number, Deferred<void>>()
    const handler = vi.fn<MessageHandler>(({ headers }) => gates.get(headers['x-stream-offset'] as number)?.promise)
    gates.set(6, new Deferred())
    const { open, position } = consumer(handler)
    const old = open()
    for (const offset of [5, 6, 7]) old.accept(offset)
    await settle()
    expect(tagsOf(old.raw)).toEqual([5, 7])
    old.raw.emit('close')
    expect(position.restart()).toBe(6)
    expect(position.restart()).toBe(6)
    const next = open()
    for (const offset of [6, 7, 8]) next.accept(offset)
    await settle()
    expect(tagsOf(next.raw)).toEqual([7, 8])
    gates.get(6)?.resolve()
    await settle()
    expect(tagsOf(next.raw)).toEqual([7, 8, 6])
    expect(handler).toHaveBeenCalledTimes(4)
    expect(position.next).toBe(9)
  })

  test('handles a message again that failed, without the broker, and passes it over in the end', async () => {
    const handler = vi.fn<MessageHandler>(({ headers }) => {
      if (headers['x-stream-offset'] === 1) throw new Error('bad')
    })
    const { open, deliveries, position } = consumer(handler)
    const { raw, accept } = open()
    accept(1)
    accept(2)
    await expect.poll(() => tagsOf(raw)).toEqual([2, 1])
    expect(handler).toHaveBeenCalledTimes(4)
    expect(raw.nacked).toEqual([])
    expect(deliveries.failedCount).toBe(3)
    expect(position.next).toBe(3)
  })
})

describe('the position in a stream', () => {
  test.each(['next', 'last'] as const)('after %s and no message, is the time of the first subscription', (start) => {
    vi.useFakeTimers({ now: 1_700_000_000_999 })
    try {
      const position = new StreamPosition(start)
      expect(position.restart()).toBe(start)
      position.subscribed()
      vi.advanceTimersByTime(60_000)
      position.subscribed()
      expect(offsetArgument(position.restart())).toEqual({ '!': 'timestamp', value: 1_700_000_000 })
      position.arrived(9)
      expect(position.next).toBe(9)
    } finally {
      vi.useRealTimers()
    }
  })

  test('in a stream that was made anew is its beginning', () => {
    const position = new StreamPosition(3)
    expect(position.restart()).toBe(3)
    position.finished(position.arrived(3))
    expect(position.isRepeated(3)).toBe(true)
    position.reset()
    expect(position.restart()).toBe('first')
    expect(position.isRepeated(0)).toBe(false)
  })
})
