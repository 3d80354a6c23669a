import { randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test } from 'vitest'
import { createTransport, type AmqpTransport, type TransportOptions } from '../../src/amqp/index.js'
import { percentile } from '../harness/gap.js'
import { FakeAmqp, type FakeBehaviour, type FakePublished } from '../helpers/fake-amqp.js'

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function broker(behaviour?: FakeBehaviour): Promise<FakeAmqp> {
  const fake = await FakeAmqp.listen(behaviour)
  cleanups.push(() => fake.close())
  return fake
}

async function transportTo(fakes: readonly FakeAmqp[], options: TransportOptions = {}): Promise<AmqpTransport> {
  const hosts = fakes.map(({ address }) => address)
  const transport = createTransport({ hosts, env: {}, failoverStrategy: 'round-robin', ...options })
  cleanups.push(() => transport.destroy())
  await transport.ready()
  return transport
}

const bodies = (published: readonly FakePublished[]): readonly string[] => published.map(({ body }) => body)

function publishAll(transport: AmqpTransport, messages: readonly string[]): readonly Promise<void>[] {
  return messages.map((body) => {
    const published = transport.publish('', 'q', body)
    published.catch(() => undefined)
    return published
  })
}

async function arrived(fake: FakeAmqp, count: number): Promise<readonly FakePublished[]> {
  await expect.poll(() => fake.published.length).toBe(count)
  return fake.published
}

describe('confirmations of a broker that takes liberties', () => {
  test('settle each message once: late, many at once, out of order, twice', async () => {
    const fake = await broker({ withholdsConfirms: true })
    const transport = await transportTo([fake])
    const all = publishAll(transport, ['a', 'b', 'c', 'd', 'e'])
    const published = await arrived(fake, 5)
    published[4]?.answer('ack')
    await all[4]
    published[2]?.answer('ack', true)
    await Promise.all(all.slice(0, 3))
    published[0]?.answer('ack')
    published[2]?.answer('ack', true)
    published[3]?.answer('ack')
    await all[3]
    expect(transport.status()).toMatchObject({ outbox: { messages: 0 }, counters: { confirmed: 5, resent: 0 } })
  })

  test('in a storm of refusals do not keep messages from arriving', async () => {
    const fake = await broker({ withholdsConfirms: true })
    const transport = await transportTo([fake])
    const all = publishAll(
      transport,
      Array.from({ length: 100 }, (_, i) => String(i)),
    )
    const published = await arrived(fake, 100)
    published[99]?.answer('nack', true)
    fake.behaviour.withholdsConfirms = false
    await Promise.all(all)
    expect(transport.status()).toMatchObject({
      outbox: { messages: 0, bytes: 0 },
      counters: { confirmed: 100, nacked: 100, resent: 100 },
    })
  })

  test('that come after the connection was lost change nothing on the next one', async () => {
    const [first, second] = [await broker({ withholdsConfirms: true }), await broker({ withholdsConfirms: true })]
    const transport = await transportTo([first, second])
    const [message] = publishAll(transport, ['a'])
    const [onFirst] = await arrived(first, 1)
    first.reset()
    onFirst?.answer('ack')
    const [onSecond] = await arrived(second, 1)
    expect(transport.status().outbox.messages).toBe(1)
    onSecond?.answer('ack')
    await message
  })
})

describe('a publish', () => {
  test('to an unknown exchange is refused alone, and the others in flight arrive', async () => {
    const fake = await broker({ withholdsConfirms: true })
    const transport = await transportTo([fake])
    const before = publishAll(transport, ['a', 'b'])
    const bad = transport.publish('nope', 'k', 'bad')
    bad.catch(() => undefined)
    const after = publishAll(transport, ['c'])
    const published = await arrived(fake, 4)
    const refusal = [404, "NOT_FOUND - no exchange 'nope' in vhost '/'"] as const
    published[2]?.refuse(...refusal)
    const answer = setInterval(() => {
      for (const one of fake.published.slice(4)) {
        if (one.exchange === 'nope') one.refuse(...refusal)
        else one.answer('ack')
      }
    }, 10)
    cleanups.push(() => clearInterval(answer))
    await expect(bad).rejects.toMatchObject({ code: 404 })
    await Promise.all([...before, ...after])
    clearInterval(answer)
    expect([...bodies(fake.published.slice(4))].sort()).toEqual(['a', 'b', 'bad', 'c'])
  })

  test('whose connection is cut in the middle of its frames is sent once more as a whole', async () => {
    const [first, second] = [await broker({ cutsAfterBodyBytes: 200_000 }), await broker()]
    const transport = await transportTo([first, second])
    const body = randomBytes(300_000).toString('base64')
    await transport.publish('', 'q', body)
    expect(first.published).toEqual([])
    expect(bodies(second.published)).toEqual([body])
    expect(transport.status().counters).toMatchObject({ confirmed: 1, resent: 1 })
  })

  test('waits while the broker is blocked, without a failover, and goes out after that', async () => {
    const [first, second] = [await broker(), await broker()]
    const transport = await transportTo([first, second], { standby: false })
    first.block()
    await expect.poll(() => transport.status().connections.publisher.isBlocked).toBe(true)
    const all = publishAll(transport, ['a', 'b'])
    const hurried = transport.publish('', 'q', 'hurried', { timeoutMs: 100 })
    await expect(hurried).rejects.toMatchObject({ code: 'HA_TIMEOUT', safeToRetry: true })
    expect(first.published).toEqual([])
    first.unblock()
    await Promise.all(all)
    expect(bodies(first.published)).toEqual(['a', 'b'])
    expect(second.published).toEqual([])
  })

  test('of too large a message is refused before it is sent, as are headers that cannot be encoded', async () => {
    const fake = await broker()
    const transport = await transportTo([fake], { maxMessageBytes: 1000 })
    await expect(transport.publish('', 'q', Buffer.alloc(1001))).rejects.toMatchObject({
      code: 'HA_MESSAGE_TOO_LARGE',
      safeToRetry: true,
      bytes: 1001,
      maxBytes: 1000,
    })
    const headers = { long: 'x'.repeat(70_000) }
    const [wide, fine] = [transport.publish('', 'q', 'wide', { headers }), transport.publish('', 'q', 'fine')]
    await expect(wide).rejects.toThrow(RangeError)
    await fine
    await transport.publish('', 'q', Buffer.alloc(1000))
    expect(fake.published).toHaveLength(2)
    expect(transport.status()).toMatchObject({ outbox: { messages: 0 }, counters: { confirmed: 2 } })
  })

  test('larger than the whole outbox says so, and does not wait for room that never comes', async () => {
    const transport = await transportTo([await broker()], { maxOutboxBytes: 100, overflow: 'wait' })
    await expect(transport.publish('', 'q', Buffer.alloc(101))).rejects.toMatchObject({
      code: 'HA_MESSAGE_TOO_LARGE',
      maxBytes: 100,
    })
  })
})

/** What is in use after full collections, two of them because buffers go in the one after their owners'. */
async function keptMiB(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let i = 0; i < 2; i += 1) {
    collect()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 1024 / 1024
}

describe('an outage of every broker', () => {
  test('is survived with little memory: the outbox fills, the rest is refused at once, what was accepted arrives', async () => {
    const fake = await broker()
    const transport = await transportTo([fake], {
      publishTimeoutMs: 60_000,
      retryIntervalMs: 100,
      retryIntervalMaxMs: 200,
    })
    await Promise.all(publishAll(transport, ['warm']))
    fake.behaviour.isSilent = true
    fake.reset()
    await expect.poll(() => transport.status().connections.publisher.state).toBe('connecting')
    const accepted: Promise<void>[] = []
    const before = await keptMiB()
    const tookMs: number[] = []
    for (let i = 0; i < 60_000; i += 1) {
      const calledAt = performance.now()
      const published = transport.publish('', 'q', Buffer.alloc(1024, 'x'))
      if (accepted.length < 10_000) {
        published.catch(() => undefined)
        accepted.push(published)
      } else {
        const code = await published.catch((error: unknown) => (error as { code?: unknown }).code)
        tookMs.push(performance.now() - calledAt)
        if (code !== 'HA_BACKPRESSURE') throw new Error(`refused with ${String(code)}`)
      }
    }
    expect([tookMs.length, transport.status().outbox.messages]).toEqual([50_000, 10_000])
    expect((await keptMiB()) - before).toBeLessThan(48)
    expect(percentile(tookMs, 0.99)).toBeLessThan(1)
    fake.behaviour.isSilent = false
    await Promise.all(accepted)
    expect(fake.published).toHaveLength(10_001)
  }, 60_000)
})
