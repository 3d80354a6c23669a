import { afterEach, describe, expect, test } from 'vitest'
import { createTransport, type AmqpTransport, type TransportOptions } from '../../src/amqp/index.js'
import { FakeAmqp, type FakeBehaviour } from '../helpers/fake-amqp.js'

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function transportTo(behaviour: FakeBehaviour, options: TransportOptions = {}): Promise<AmqpTransport> {
  const fake = await FakeAmqp.listen(behaviour)
  cleanups.push(() => fake.close())
  const transport = createTransport({ hosts: [fake.address], env: {}, ...options })
  cleanups.push(() => transport.destroy())
  return transport
}

describe('the limit of a call', () => {
  test('holds while no broker can be reached, from before the first call on', async () => {
    const transport = await transportTo({ isSilent: true })
    const calling = transport.rpcClient({ topic: 't' }).call({}, 'echo', {}, { timeoutMs: 200 })
    await expect(calling).rejects.toMatchObject({ code: 'HA_TIMEOUT', maybeExecuted: false })
  })

  test('holds while the broker does not make the reply queue', async () => {
    const transport = await transportTo({ onMethod: ({ id }) => id === '50,10' })
    await transport.ready()
    const calling = transport.rpcClient({ topic: 't' }).call({}, 'echo', {}, { timeoutMs: 200 })
    await expect(calling).rejects.toMatchObject({ code: 'HA_TIMEOUT', maybeExecuted: false })
  })

  test('a signal ends it at once', async () => {
    const transport = await transportTo({ isSilent: true })
    const stop = new AbortController()
    const calling = transport.rpcClient({ topic: 't' }).call({}, 'echo', {}, { signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(calling).rejects.toThrow('enough')
  })

  test('a call that waits rejects when the transport is closed', async () => {
    const transport = await transportTo({ isSilent: true })
    const calling = transport.rpcClient({ topic: 't' }).call({}, 'echo', {}, { timeoutMs: 20_000 })
    const rejected = expect(calling).rejects.toMatchObject({ code: 'HA_CLOSED' })
    await transport.close({ timeoutMs: 100 })
    await rejected
  })
})

describe('notifications with a URL of their own', () => {
  test('go to its hosts, and nothing else does', async () => {
    const [main, own] = [await FakeAmqp.listen(), await FakeAmqp.listen()]
    cleanups.push(
      () => main.close(),
      () => own.close(),
    )
    const env = { OS_OSLO_MESSAGING_NOTIFICATIONS__TRANSPORT_URL: `rabbit://${own.address}` }
    const transport = createTransport({ hosts: [main.address], env })
    cleanups.push(() => transport.destroy())
    await transport.ready()
    expect(own.connectionCount).toBe(0)
    await transport.notifier({ publisherId: 'p' }).info({}, 'event', {})
    expect(own.published.map(({ routingKey }) => routingKey)).toEqual(['notifications.info'])
    expect(main.published).toEqual([])
    expect(transport.notifications.status().hosts.map(({ host }) => host)).toEqual([own.address])
    await transport.publish('', 'queue', 'body')
    expect(main.published).toHaveLength(1)
    await transport.close()
    await expect.poll(() => own.openCount).toBe(0)
    expect(() => transport.notifier({ publisherId: 'p' })).toThrow(
      expect.objectContaining({ code: 'HA_CLOSED' }) as Error,
    )
  })

  test('that were not sent yet reject when the transport is destroyed', async () => {
    const [main, own] = [await FakeAmqp.listen(), await FakeAmqp.listen({ isSilent: true })]
    cleanups.push(
      () => main.close(),
      () => own.close(),
    )
    const transport = createTransport({
      hosts: [main.address],
      notificationUrl: `rabbit://${own.address}`,
      env: {},
    })
    const notifying = transport.notifier({ publisherId: 'p' }).info({}, 'event', {})
    const rejected = expect(notifying).rejects.toMatchObject({ code: 'HA_CLOSED' })
    transport.destroy()
    await rejected
  })

  test('are sent by the transport itself when there is none', () => {
    const transport = createTransport({ hosts: ['127.0.0.1:1'], env: {} })
    cleanups.push(() => transport.destroy())
    expect(transport.notifications).toBe(transport)
  })
})
