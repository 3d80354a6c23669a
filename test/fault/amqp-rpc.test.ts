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
