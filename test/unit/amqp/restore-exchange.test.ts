import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { newCounters } from '../../../src/amqp/counters.js'
import { resolveDeclarations } from '../../../src/amqp/declaration.js'
import type { DriverChannel } from '../../../src/amqp/driver.js'
import { toLetter } from '../../../src/amqp/letter.js'
import { Publisher } from '../../../src/amqp/publisher.js'
import { Session } from '../../../src/amqp/session.js'
import { Topology } from '../../../src/amqp/topology.js'
import { ConnectionLostError } from '../../../src/core/errors.js'
import { StubConnection, stubHost, type StubChannel } from '../../helpers/stub-amqp.js'

/** A broker that lost exchange `e`, and answers a binding as told. */
class Broker extends StubConnection {
  readonly bound: string[] = []
  bind: (queue: string, channel: StubChannel) => Promise<unknown> = () => Promise.resolve({})

  override createChannel(): Promise<DriverChannel> {
    const opening = super.createChannel()
    const channel = this.channels.at(-1) as StubChannel
    Object.assign(channel, {
      bindQueue: (queue: string) => {
        this.bound.push(queue)
        return this.bind(queue, channel)
      },
    })
    return opening
  }

  /** Messages on channels after the first. */
  get sentAgain(): number {
    return this.confirmChannels.slice(1).reduce((sum, { published }) => sum + published.length, 0)
  }
}

let broker: Broker
let session: Session
let publisher: Publisher
let refused: string[]

beforeEach(async () => {
  vi.useFakeTimers()
  broker = new Broker()
  refused = []
  const topology = new Topology((_, what) => refused.push(what))
  topology.add(
    resolveDeclarations({
      exchanges: [{ name: 'e', type: 'topic' }],
      bindings: ['q1', 'q2', 'q3'].map((queue) => ({ queue, exchange: 'e', routingKey: '#' })),
    }),
  )
  publisher = new Publisher({
    maxMessages: 10,
    maxBytes: 1000,
    topology,
    counters: newCounters(),
    whyWaiting: () => new Error('no host'),
    onServing: () => undefined,
  })
  session = new Session(stubHost('h1'), broker, 1000)
  publisher.attach(session)
  await vi.advanceTimersByTimeAsync(0)
})
afterEach(() => {
  publisher.close(() => new Error('the end of the test'))
  vi.useRealTimers()
})

/** Publishes to the exchange, which the broker says it does not have. */
async function publish(): Promise<void> {
  publisher.publish(toLetter('e', 'k', 'x', {}), { timeoutMs: 60_000 }).catch(() => undefined)
  broker.confirmChannels[0]?.refuse(404, "NOT_FOUND - no exchange 'e' in vhost '/'")
  await vi.advanceTimersByTimeAsync(0)
}

test('an exchange that was gone is made again with its bindings; one that is refused is reported and stops no other', async () => {
  broker.bind = (queue, channel) => {
    if (queue !== 'q1') return Promise.resolve({})
    channel.refuse(404, "NOT_FOUND - no queue 'q1' in vhost '/'")
    return Promise.reject(new Error('the channel was closed'))
  }
  await publish()
  expect(broker.bound.toSorted()).toEqual(['q1', 'q2', 'q3'])
  expect(refused).toEqual(["binding of queue 'q1' to exchange 'e'"])
  expect(broker.sentAgain).toBe(1)
})

test('a message waits until the bindings of its exchange are answered, however long, and they are asked for once', async () => {
  const answers: (() => void)[] = []
  broker.bind = () => new Promise((resolve) => answers.push(() => resolve({})))
  await publish()
  await vi.advanceTimersByTimeAsync(16_000)
  expect(broker.sentAgain).toBe(0)
  for (const answer of answers) answer()
  await vi.advanceTimersByTimeAsync(5000)
  expect(broker.bound.toSorted()).toEqual(['q1', 'q2', 'q3'])
  expect(broker.sentAgain).toBe(1)
})

test('a connection that ends meanwhile leaves the rest to the next one', async () => {
  broker.bind = () => new Promise(() => undefined)
  await publish()
  session.cut(new ConnectionLostError('h1:5672', 'test'))
  broker = new Broker()
  publisher.attach(new Session(stubHost('h2'), broker, 1000))
  await vi.advanceTimersByTimeAsync(6000)
  expect(broker.bound.toSorted()).toEqual(['q1', 'q2', 'q3'])
  expect(broker.confirmChannels.flatMap(({ published }) => published)).toHaveLength(1)
})
