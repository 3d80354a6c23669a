import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Channel } from '../../../src/amqp/channel.js'
import type { DriverChannel } from '../../../src/amqp/driver.js'
import { watchQueue, type WatchFinding } from '../../../src/amqp/queue-watch.js'
import { Session } from '../../../src/amqp/session.js'
import { StubConnection, stubHost, type StubChannel } from '../../helpers/stub-amqp.js'

const INTERVAL_MS = 5000

/** A broker that answers the question for the queue as told, and never says by itself that it is gone. */
class Broker extends StubConnection {
  asked = 0
  answer: (channel: StubChannel) => Promise<{ readonly messageCount: number }> = () =>
    Promise.resolve({ messageCount: 0 })

  override async createChannel(): Promise<DriverChannel> {
    const raw = await super.createChannel()
    for (const channel of this.channels.slice(-1)) {
      channel.checkQueue = () => {
        this.asked += 1
        return this.answer(channel)
      }
    }
    return raw
  }
}

const gone = (channel: StubChannel): Promise<never> => {
  channel.refuse(404, "NOT_FOUND - no queue 'q' in vhost '/'")
  return Promise.reject(new Error('the channel was closed'))
}

/** A message comes, and gets its verdict at once. */
const receive = (): void => {
  consumer.delivered()
  consumer.settle(() => undefined)
}

let broker: Broker
let session: Session
let consumer: Channel
let watch: Promise<WatchFinding | undefined>

beforeEach(async () => {
  vi.useFakeTimers()
  broker = new Broker()
  session = new Session(stubHost('h1'), broker, 1000)
  consumer = await session.openChannel()
  watch = watchQueue({
    session,
    channel: consumer,
    queue: 'q',
    isOwedReady: () => true,
    intervalMs: () => INTERVAL_MS,
  })
})
afterEach(async () => {
  consumer.dismiss()
  await watch
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

describe('the watch over the queue of a consumer', () => {
  test('notices a queue that was deleted without a word to its consumer', async () => {
    broker.answer = gone
    await vi.advanceTimersByTimeAsync(INTERVAL_MS)
    expect(await watch).toBe('gone')
    expect(session.isOpen).toBe(true)
  })

  test('asks nothing while messages come, and leaves a queue alone that is there', async () => {
    for (let i = 0; i < 3; i += 1) {
      receive()
      await vi.advanceTimersByTimeAsync(INTERVAL_MS)
    }
    expect(broker.asked).toBe(0)
    await vi.advanceTimersByTimeAsync(3 * INTERVAL_MS)
    expect(broker.asked).toBe(3)
    expect(consumer.isOpen).toBe(true)
    expect(broker.channels.map(({ closeCount }) => closeCount)).toEqual([0, 1, 1, 1])
  })

  test('gives up a question that is not answered, and asks again', async () => {
    broker.answer = () => new Promise(() => undefined)
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS)
    broker.answer = gone
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS)
    expect(await watch).toBe('gone')
  })

  test('notices that a queue has messages and nothing comes', async () => {
    broker.answer = () => Promise.resolve({ messageCount: 3 })
    await vi.advanceTimersByTimeAsync(INTERVAL_MS + 300)
    expect(await watch).toBe('starving')
  })

  test('takes a message that comes just then for life, and running handlers for a reason', async () => {
    broker.answer = () => {
      setTimeout(receive, 100)
      return Promise.resolve({ messageCount: 1 })
    }
    await vi.advanceTimersByTimeAsync(INTERVAL_MS + 300)
    consumer.delivered()
    broker.answer = () => Promise.resolve({ messageCount: 1 })
    await vi.advanceTimersByTimeAsync(4 * INTERVAL_MS)
    expect(broker.asked).toBe(4)
    consumer.dismiss()
    expect(await watch).toBeUndefined()
  })

  test('ends with the consumer, also in the middle of a question', async () => {
    broker.answer = () => new Promise(() => undefined)
    await vi.advanceTimersByTimeAsync(INTERVAL_MS)
    consumer.dismiss()
    await watch
    expect(broker.channels.at(-1)?.closeCount).toBe(1)
  })

  test('ends with the connection', async () => {
    session.cut(new Error('cut'))
    await watch
    expect(broker.asked).toBe(0)
  })
})
