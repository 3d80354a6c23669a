import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ManagedConsumer } from '../../../src/amqp/consumer.js'
import { newCounters } from '../../../src/amqp/counters.js'
import type { DriverChannel } from '../../../src/amqp/driver.js'
import { QueueMemories } from '../../../src/amqp/queue-memory.js'
import { Session } from '../../../src/amqp/session.js'
import { resolveSubscription, type Subscription } from '../../../src/amqp/subscription.js'
import { Topology } from '../../../src/amqp/topology.js'
import { ConnectionLostError } from '../../../src/core/errors.js'
import { StubConnection, stubDelivery, stubHost, type StubChannel } from '../../helpers/stub-amqp.js'

/** A broker whose queue has `readyCount` messages, and which answers a subscription only while it `isAnswering`. */
class Broker extends StubConnection {
  readyCount = 0
  isAnswering = true
  readonly subscribed: StubChannel[] = []

  override async createChannel(): Promise<DriverChannel> {
    const opened = await super.createChannel()
    for (const raw of this.channels.slice(-1)) this.#play(raw)
    return opened
  }

  #play(raw: StubChannel): void {
    raw.checkQueue = () => Promise.resolve({ messageCount: this.readyCount })
    const consume = raw.consume.bind(raw)
    raw.consume = (queue, onMessage) => {
      this.subscribed.push(raw)
      return this.isAnswering ? consume(queue, onMessage) : new Promise(() => undefined)
    }
  }
}

let broker: Broker
let session: Session
let left: [Session, Error][]
let spare: { session: Session; broker: Broker }[]
let consumer: ManagedConsumer

function stubSession(): { session: Session; broker: Broker } {
  const connection = new Broker()
  return { session: new Session(stubHost('h1'), connection, 1000), broker: connection }
}

async function consume(subscription: Partial<Subscription> = {}): Promise<void> {
  consumer = new ManagedConsumer(resolveSubscription({ queue: 'q', ...subscription }, 64), () => undefined, {
    topology: new Topology(() => undefined),
    counters: newCounters(),
    memories: new QueueMemories(),
    session: () => Promise.resolve(session),
    standby: { session: undefined, next: () => Promise.reject(new Error('none stands by')) },
    spareSession: () => {
      const one = stubSession()
      spare.push(one)
      return Promise.resolve(one.session)
    },
    onRefused: () => undefined,
    leave: (one, cause) => left.push([one, cause]),
    whyWaiting: () => new Error('not connected'),
    onClosed: () => undefined,
  })
  const started = consumer.start({ timeoutMs: 600_000 })
  await vi.advanceTimersByTimeAsync(0)
  await Promise.race([started, Promise.resolve()])
}

beforeEach(() => {
  vi.useFakeTimers()
  left = []
  spare = []
  const made = stubSession()
  session = made.session
  broker = made.broker
})
afterEach(async () => {
  consumer.destroy(new Error('the end of the test'))
  await vi.advanceTimersByTimeAsync(20_000)
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

describe('a consumer that gets nothing although its queue has messages', () => {
  test('renews its channel every second or so at first, and leaves the host when that has not helped', async () => {
    await consume()
    broker.readyCount = 3
    await vi.advanceTimersByTimeAsync(10_000)
    expect(broker.subscribed.length).toBeGreaterThanOrEqual(6)
    expect(left).toEqual([])
    await vi.advanceTimersByTimeAsync(25_000)
    expect(left[0]).toMatchObject([session, { message: expect.stringContaining("queue 'q'") as string }])
  })

  test('renews its channel once, later, when that helps', async () => {
    await consume()
    await vi.advanceTimersByTimeAsync(30_000)
    expect(broker.subscribed).toHaveLength(1)
    broker.readyCount = 3
    await vi.advanceTimersByTimeAsync(6000)
    expect(broker.subscribed).toHaveLength(2)
    broker.readyCount = 0
    broker.subscribed[1]?.onMessage?.(stubDelivery(1))
    await vi.advanceTimersByTimeAsync(60_000)
    expect(broker.subscribed).toHaveLength(2)
    expect(left).toEqual([])
  })

  test.each<[string, Partial<Subscription>]>([
    ['consumes a stream', { type: 'stream' }],
    ['is one of several of which one is active', { singleActiveConsumer: true }],
    ['is not the first in line', { priority: -1 }],
  ])('stays where it is if it %s', async (_, subscription) => {
    await consume(subscription)
    await vi.advanceTimersByTimeAsync(20_000)
    const before = broker.subscribed.length
    broker.readyCount = 3
    await vi.advanceTimersByTimeAsync(60_000)
    expect(broker.subscribed).toHaveLength(before)
    expect(left).toEqual([])
  })
})

describe('a consumer whose subscription', () => {
  test('is not answered, asks again on another channel: every second or so at first, seldom later', async () => {
    broker.isAnswering = false
    await consume()
    await vi.advanceTimersByTimeAsync(5000)
    const early = broker.subscribed.length
    expect(early).toBeGreaterThanOrEqual(3)
    await vi.advanceTimersByTimeAsync(20_000)
    const late = broker.subscribed.length
    await vi.advanceTimersByTimeAsync(20_000)
    expect(broker.subscribed.length - late).toBeLessThanOrEqual(2)
    expect(broker.subscribed[0]?.closeCount).toBe(1)
    broker.isAnswering = true
    await vi.advanceTimersByTimeAsync(21_000)
    expect(consumer.status().state).toBe('active')
  })

  test('has ended the connection, tries on a connection of its own before it uses the next one', async () => {
    broker.isAnswering = false
    await consume()
    const internal = Object.assign(new Error('Connection closed: 541 (INTERNAL-ERROR)'), { code: 541 })
    const next = stubSession()
    const dead = session
    session = next.session
    dead.cut(new ConnectionLostError('h1:5672', internal.message, { cause: internal }))
    broker.subscribed[0]?.emit('close')
    await vi.advanceTimersByTimeAsync(20_000)
    expect(spare).toHaveLength(1)
    expect(spare[0]?.broker.subscribed).toHaveLength(1)
    expect(spare[0]?.broker.isCut).toBe(true)
    expect(next.broker.subscribed).toHaveLength(1)
    expect(consumer.status().state).toBe('active')
  })
})
