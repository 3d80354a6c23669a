import { afterEach, describe, expect, test } from 'vitest'
import { createTransport, type AmqpTransport, type TransportOptions } from '../../src/amqp/index.js'
import { FakeAmqp, type FakeBehaviour } from '../helpers/fake-amqp.js'

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

const standbyOf = (transport: AmqpTransport): string | undefined => transport.status().connections.standby?.host

describe('the connection that stands by', () => {
  test('is on another host, takes over at a reset without the splay, and resends everything in order', async () => {
    const [first, second] = [await broker({ withholdsConfirms: true }), await broker()]
    const transport = await transportTo([first, second], { reconnectSplayMs: 60_000 })
    await expect.poll(() => standbyOf(transport)).toBe(second.address)
    const all = Array.from({ length: 20 }, (_, i) => transport.publish('', `q${String(i)}`, `m${String(i)}`))
    await expect.poll(() => first.published.length).toBe(20)
    first.reset()
    await Promise.all(all)
    expect(second.published.map(({ body }) => body)).toEqual(first.published.map(({ body }) => body))
    expect(transport.status()).toMatchObject({
      counters: { resent: 20 },
      connections: { publisher: { host: second.address } },
    })
  })

  test('gets one message of a route in use, between the others, in order', async () => {
    const [first, second] = [await broker(), await broker()]
    const transport = await transportTo([first, second])
    await expect.poll(() => standbyOf(transport)).toBe(second.address)
    const confirmed: number[] = []
    await expect
      .poll(async () => {
        await transport.publish('', 'q', confirmed.push(0))
        return second.published.length
      })
      .toBe(1)
    const order: number[] = []
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        await transport.publish('', 'q', i)
        order.push(i)
      }),
    )
    expect(order).toEqual([...order].sort((a, b) => a - b))
    expect(second.published).toHaveLength(1)
    expect(transport.status().counters.resent).toBe(0)
  })

  test('costs half a second when it does not confirm, and nothing is lost', async () => {
    const [first, second] = [await broker(), await broker({ withholdsConfirms: true })]
    const transport = await transportTo([first, second])
    await expect.poll(() => standbyOf(transport)).toBe(second.address)
    let worst = 0
    await expect
      .poll(async () => {
        const began = performance.now()
        await transport.publish('', 'q', 'x')
        worst = Math.max(worst, performance.now() - began)
        return transport.status().counters.resent
      })
      .toBe(1)
    expect(second.published).toHaveLength(1)
    expect(worst).toBeGreaterThan(400)
    expect(worst).toBeLessThan(1000)
    expect(first.published.some(({ body }) => body === second.published[0]?.body)).toBe(true)
  })

  test('harms no message when the broker refuses the one that goes over it', async () => {
    const [first, second] = [await broker(), await broker()]
    let refused = 0
    second.behaviour.refuses = {
      'basic.publish': { closes: 'channel', code: 404, text: "NOT_FOUND - no exchange 'e'" },
    }
    second.behaviour.onMethod = ({ id }) => {
      if (id === '60,40') refused += 1
      return false
    }
    const transport = await transportTo([first, second])
    await expect.poll(() => standbyOf(transport)).toBe(second.address)
    let count = 0
    const publish = async (): Promise<void> => {
      count += 1
      await transport.publish('e', 'k', 'x', { mandatory: false })
    }
    await expect.poll(() => publish().then(() => refused)).toBe(1)
    for (let i = 0; i < 100; i += 1) await publish()
    expect(refused).toBe(1)
    expect(first.published).toHaveLength(count)
  })

  test('is not used while its broker takes no messages, and still takes over', async () => {
    const [first, second] = [await broker(), await broker()]
    const transport = await transportTo([first, second], { reconnectSplayMs: 60_000 })
    await expect.poll(() => standbyOf(transport)).toBe(second.address)
    second.block()
    await expect.poll(() => transport.status().connections.standby?.isBlocked).toBe(true)
    for (let i = 0; i < 20; i += 1) await transport.publish('', 'q', 'x')
    expect(second.published).toEqual([])
    const isOver = new Promise<void>((resolve) => transport.once('failover', () => resolve()))
    first.reset()
    await isOver
    const waiting = transport.publish('', 'q', 'y')
    expect(transport.status().outbox.messages).toBe(1)
    second.unblock()
    await waiting
    expect(second.published.map(({ body }) => body)).toEqual(['y'])
  })

  test('moves when its host is taken off the list', async () => {
    const [first, second, third] = [await broker(), await broker(), await broker()]
    const transport = await transportTo([first, second])
    await expect.poll(() => standbyOf(transport)).toBe(second.address)
    transport.setHosts([first.address, third.address])
    await expect.poll(() => standbyOf(transport)).toBe(third.address)
    expect(transport.status().connections.publisher.host).toBe(first.address)
  })

  test('does not exist with one host, or when it is not wanted', async () => {
    const [first, second] = [await broker(), await broker()]
    const alone = await transportTo([first])
    const without = await transportTo([first, second], { standby: false })
    await Promise.all([alone.publish('', 'q', 'x'), without.publish('', 'q', 'x')])
    expect([standbyOf(alone), standbyOf(without)]).toEqual([undefined, undefined])
    expect(second.connectionCount).toBe(0)
  })
})
