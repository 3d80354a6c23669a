import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ManagedConsumer } from '../../../src/amqp/consumer.js'
import { newCounters } from '../../../src/amqp/counters.js'
import type { MessageHandler } from '../../../src/amqp/deliveries.js'
import type { DriverChannel } from '../../../src/amqp/driver.js'
import type { Host } from '../../../src/amqp/hosts.js'
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

const hosts: Readonly<Record<string, Host>> = { h1: stubHost('h1'), h2: stubHost('h2'), h3: stubHost('h3') }

let broker: Broker
let session: Session
let left: [Session, Error][]
let standby: Session | undefined
let spare: { session: Session; broker: Broker }[]
let consumer: ManagedConsumer

function stubSession(host = 'h1'): { session: Session; broker: Broker } {
  const connection = new Broker()
  return { session: new Session(hosts[host] ?? stubHost(host), connection, 1000), broker: connection }
}

async function consume(
  subscription: Partial<Subscription> = {},
  handler: MessageHandler = () => undefined,
): Promise<void> {
  consumer = new ManagedConsumer(resolveSubscription({ queue: 'q', ...subscription }, 64), handler, {
    topology: new Topology(() => undefined),
    counters: newCounters(),
    memories: new QueueMemories(),
    session: () => Promise.resolve(session),
    standbySession: () => standby,
    hasStandby: () => standby !== undefined,
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
  standby = undefined
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

describe('a consumer with a connection that stands by', () => {
  const standBy = (host: string): Broker => {
    const made = stubSession(host)
    standby = made.session
    consumer.onStandby()
    return made.broker
  }
  const settled = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0)
  const start = async (subscription?: Partial<Subscription>, handler?: MessageHandler): Promise<Broker> => {
    const made = stubSession('h2')
    standby = made.session
    await consume(subscription, handler)
    await settled()
    return made.broker
  }

  test('consumes on both hosts, with half of its prefetch on each', async () => {
    const second = await start({ prefetch: 9 })
    expect(consumer.status().hosts).toEqual(['h1:5672', 'h2:5672'])
    expect([broker, second].map(({ subscribed }) => subscribed.map(({ prefetched }) => prefetched))).toEqual([[5], [4]])
  })

  test.each<[string, Partial<Subscription>]>([
    ['is a stream', { type: 'stream' }],
    ['is classic', { type: 'classic' }],
    ['gives its messages to one consumer at a time', { singleActiveConsumer: true }],
    ['takes no other consumer', { exclusiveConsumer: true }],
    ['is handled one by one, in order', { concurrency: 1 }],
    ['has room for one message', { prefetch: 1 }],
    ['is not to be', { redundant: false }],
  ])('consumes on one host if its queue %s', async (_, subscription) => {
    const second = await start(subscription)
    expect(consumer.status().hosts).toEqual(['h1:5672'])
    expect(second.subscribed).toEqual([])
  })

  test('gives each verdict to the channel that delivered', async () => {
    const second = await start()
    broker.subscribed[0]?.onMessage?.(stubDelivery(1))
    second.subscribed[0]?.onMessage?.(stubDelivery(1))
    second.subscribed[0]?.onMessage?.(stubDelivery(2))
    const acked = [broker, second].map(({ subscribed }) => subscribed[0]?.acked.map((one) => one.fields.deliveryTag))
    expect(acked).toEqual([[1], [1, 2]])
    expect([session, standby].map((one) => one !== undefined && consumer.isExpecting(one))).toEqual([true, true])
  })

  test('keeps the second subscription where it is while the first one cannot be made', async () => {
    const second = await start()
    const next = stubSession('h2')
    next.broker.isAnswering = false
    const lost = session
    session = next.session
    lost.cut(new ConnectionLostError('h1:5672', 'frozen'))
    const other = standBy('h3')
    await vi.advanceTimersByTimeAsync(5000)
    expect(consumer.status()).toMatchObject({ state: 'waiting', hosts: ['h2:5672'] })
    expect(other.subscribed).toEqual([])
    second.subscribed[0]?.onMessage?.(stubDelivery(7))
    expect(second.subscribed[0]?.acked).toHaveLength(1)
  })

  test('moves the second subscription to the next connection that stands by, when its messages have their verdicts', async () => {
    let finish: (() => void) | undefined
    const second = await start({}, () => new Promise<void>((resolve) => (finish = resolve)))
    second.subscribed[0]?.onMessage?.(stubDelivery(1))
    const other = standBy('h3')
    await settled()
    expect(other.subscribed).toHaveLength(1)
    expect(second.subscribed[0]).toMatchObject({ cancelled: ['tag'], closeCount: 0 })
    finish?.()
    await settled()
    expect(second.subscribed[0]).toMatchObject({ acked: [{ fields: { deliveryTag: 1 } }], closeCount: 1 })
    expect(consumer.status().hosts).toEqual(['h1:5672', 'h3:5672'])
  })

  test('leaves a connection to the host of the first subscription when messages come by that again', async () => {
    const second = await start()
    const next = stubSession('h2')
    const lost = session
    session = next.session
    standby = undefined
    lost.cut(new ConnectionLostError('h1:5672', 'frozen'))
    await settled()
    expect(consumer.status().hosts).toEqual(['h2:5672'])
    next.broker.subscribed[0]?.onMessage?.(stubDelivery(1))
    await settled()
    expect(second.subscribed[0]).toMatchObject({ cancelled: ['tag'], closeCount: 1 })
    expect(consumer.status().hosts).toEqual(['h2:5672'])
  })

  test('makes no second subscription on the host of the first', async () => {
    await consume()
    expect(standBy('h1').subscribed).toEqual([])
    await vi.advanceTimersByTimeAsync(60_000)
    expect(consumer.status().hosts).toEqual(['h1:5672'])
  })

  test('asks again, seldom, for a second subscription that is not answered or was ended', async () => {
    await consume()
    const made = stubSession('h2')
    made.broker.isAnswering = false
    standby = made.session
    consumer.onStandby()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(made.broker.subscribed.length).toBeGreaterThanOrEqual(3)
    expect(made.broker.subscribed.length).toBeLessThanOrEqual(8)
    made.broker.isAnswering = true
    await vi.advanceTimersByTimeAsync(60_000)
    expect(consumer.status().hosts).toEqual(['h1:5672', 'h2:5672'])
    const before = made.broker.subscribed.length
    made.broker.subscribed.at(-1)?.onMessage?.(null)
    expect(consumer.status().hosts).toEqual(['h1:5672'])
    await vi.advanceTimersByTimeAsync(2000)
    expect(made.broker.subscribed).toHaveLength(before + 1)
  })

  test('has given its acknowledgements when it is closed, also by a subscription that has moved', async () => {
    let finish: (() => void) | undefined
    const second = await start({}, () => new Promise<void>((resolve) => (finish = resolve)))
    const [former] = second.subscribed as [StubChannel]
    former.onMessage?.(stubDelivery(1))
    standBy('h3')
    await settled()
    let answer: (() => void) | undefined
    former.close = () => new Promise((resolve) => (answer = resolve))
    let isClosed = false
    const closed = consumer.close().then(() => (isClosed = true))
    finish?.()
    await vi.advanceTimersByTimeAsync(1000)
    expect(former.acked.map(({ fields }) => fields.deliveryTag)).toEqual([1])
    expect(isClosed).toBe(false)
    answer?.()
    await closed
  })

  test('closes a channel whose cancellation is not answered', async () => {
    const second = await start()
    const [former] = second.subscribed
    if (former !== undefined) former.cancel = () => new Promise(() => undefined)
    standBy('h3')
    await vi.advanceTimersByTimeAsync(6000)
    expect(former?.closeCount).toBe(1)
  })

  test('gives back on both hosts what was not handled, when it is closed', async () => {
    const second = await start({ concurrency: 2 }, () => new Promise<void>(() => undefined))
    for (const one of [broker, second]) {
      for (const tag of [1, 2]) one.subscribed[0]?.onMessage?.(stubDelivery(tag))
    }
    const closed = consumer.close({ timeoutMs: 1000 })
    await vi.advanceTimersByTimeAsync(2000)
    await closed
    expect(broker.subscribed[0]).toMatchObject({ cancelled: ['tag'], nacked: [], closeCount: 1 })
    expect(second.subscribed[0]).toMatchObject({ cancelled: ['tag'], closeCount: 1 })
    expect(second.subscribed[0]?.nacked.map(({ requeue }) => requeue)).toEqual([true, true])
  })
})
