import { inspect } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { createTransport, type AmqpTransport, type FailoverEvent, type TransportOptions } from '../../src/amqp/index.js'
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

function transportTo(fakes: readonly FakeAmqp[], options: TransportOptions = {}): AmqpTransport {
  const hosts = fakes.map(({ address }) => address)
  const transport = createTransport({ hosts, env: {}, failoverStrategy: 'round-robin', standby: false, ...options })
  cleanups.push(() => transport.destroy())
  return transport
}

function failoverOf(transport: AmqpTransport): Promise<FailoverEvent> {
  return new Promise((resolve) => transport.once('failover', resolve))
}

async function elapsed(work: Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work.catch(() => undefined)
  return performance.now() - startedAt
}

describe('connecting', () => {
  test('to a host that accepts and says nothing is raced by the next host', async () => {
    const [silent, good] = [await broker({ isSilent: true }), await broker()]
    const transport = transportTo([silent, good])
    expect(await elapsed(transport.ready())).toBeLessThan(2500)
    expect(transport.status().connections.publisher.host).toBe(good.address)
    await expect.poll(() => silent.openCount).toBe(0)
  })

  test('to a host that stops in the middle of the handshake is raced too', async () => {
    const [stuck, good] = [await broker({ silentFrom: 'connection.start-ok' }), await broker()]
    const transport = transportTo([stuck, good])
    expect(await elapsed(transport.ready())).toBeLessThan(2500)
  })

  test('passes over a host that completes the handshake and opens no channel', async () => {
    const [stuck, good] = [await broker({ silentFrom: 'channel.open' }), await broker()]
    const transport = transportTo([stuck, good])
    await transport.ready()
    expect(transport.status().connections.publisher.host).toBe(good.address)
  })

  test('to silent hosts only is bounded, and the limit of ready() holds', async () => {
    const silent = await broker({ isSilent: true })
    const transport = transportTo([silent], { connectTimeoutMs: 200 })
    const startedAt = performance.now()
    await expect(transport.ready({ timeoutMs: 500 })).rejects.toMatchObject({ code: 'HA_TIMEOUT', phase: 'ready' })
    expect(performance.now() - startedAt).toBeLessThan(1000)
    expect(transport.status().hosts[0]).toMatchObject({ state: 'down', lastError: { code: 'HA_CONNECT' } })
  })

  test('ends at once with the refusal when every host refuses the login', async () => {
    const fakes = [await broker({ refusesLogin: true }), await broker({ refusesLogin: true })]
    const transport = transportTo(fakes)
    const published = transport.publish('', 'q', 'x')
    await expect(transport.ready()).rejects.toMatchObject({ code: 'HA_ACCESS_REFUSED', replyCode: 403 })
    await expect(published).rejects.toMatchObject({ code: 'HA_ACCESS_REFUSED' })
  })
})

describe('a connection in use', () => {
  test('that goes silent with a message in flight is given up within 3.5 s, and the message goes to the next host', async () => {
    const [first, second] = [await broker(), await broker()]
    const transport = transportTo([first, second])
    await transport.ready()
    await transport.publish('', 'q', 'before')
    first.behaviour.isSilent = true
    const failover = failoverOf(transport)
    const took = await elapsed(transport.publish('', 'q', 'during', { messageId: 'id-1' }))
    expect(took).toBeLessThan(4500)
    expect(await failover).toMatchObject({ from: first.address, to: second.address })
    expect(second.published).toHaveLength(1)
    expect(second.published[0]?.properties).toContain('id-1')
    // Silent means that the first broker did not read it, but nobody here could know.
    expect(second.published[0]?.properties).toContain('x-openstack-ha-attempt')
    expect(transport.status().counters).toMatchObject({ published: 2, confirmed: 2, resent: 1 })
  })

  test('that is reset is replaced, and every unconfirmed message is sent again', async () => {
    const [first, second] = [await broker({ withholdsConfirms: true }), await broker()]
    const transport = transportTo([first, second])
    await transport.ready()
    const all = Array.from({ length: 50 }, (_, i) => transport.publish('', 'q', `m${String(i)}`))
    await expect.poll(() => first.published.length).toBe(50)
    first.reset()
    await Promise.all(all)
    expect(second.published.map(({ body }) => body)).toEqual(first.published.map(({ body }) => body))
    expect(transport.status().outbox).toEqual({ messages: 0, bytes: 0, waiting: 0 })
  })

  test('survives a stall of our own event loop', async () => {
    const [first, second] = [await broker(), await broker()]
    const transport = transportTo([first, second])
    await transport.ready()
    const published = transport.publish('', 'q', 'x')
    const until = performance.now() + 3000
    while (performance.now() < until);
    await published
    await transport.publish('', 'q', 'y')
    expect(transport.status().availability).toMatchObject({ failoverCount: 0, outageCount: 0 })
    expect(transport.status().connections.publisher.host).toBe(first.address)
  })

  test('that answers everything but confirmations is kept, and the outcome is unknown at the limit', async () => {
    const fake = await broker({ withholdsConfirms: true })
    const transport = transportTo([fake])
    await transport.ready()
    const startedAt = performance.now()
    await expect(transport.publish('', 'q', 'x', { timeoutMs: 3000, messageId: 'id-1' })).rejects.toMatchObject({
      code: 'HA_OUTCOME_UNKNOWN',
      messageId: 'id-1',
    })
    expect(performance.now() - startedAt).toBeLessThan(4000)
    expect(transport.status().availability.outageCount).toBe(0)
  })
})

describe('the end', () => {
  test('by close() waits for the confirmations and leaves nothing open', async () => {
    const fake = await broker()
    const transport = transportTo([fake])
    const all = Array.from({ length: 20 }, () => transport.publish('', 'q', 'x'))
    await transport.close()
    await Promise.all(all)
    await expect.poll(() => fake.openCount).toBe(0)
    await expect(transport.publish('', 'q', 'x')).rejects.toMatchObject({ code: 'HA_CLOSED', safeToRetry: true })
  })

  test('by close() is bounded when the broker has gone silent', async () => {
    const fake = await broker()
    const transport = transportTo([fake])
    await transport.ready()
    fake.behaviour.isSilent = true
    expect(await elapsed(transport.close({ timeoutMs: 300 }))).toBeLessThan(1000)
    await expect.poll(() => fake.openCount).toBe(0)
  })

  test('by destroy() rejects everything at once with the cause', async () => {
    const fake = await broker({ withholdsConfirms: true })
    const transport = transportTo([fake])
    await transport.ready()
    const sent = transport.publish('', 'q', 'x')
    const consuming = transport.consume({ queue: 'q' }, () => undefined)
    transport.destroy(new Error('enough'))
    await expect(sent).rejects.toMatchObject({ code: 'HA_CLOSED', safeToRetry: false, cause: { message: 'enough' } })
    await expect(consuming).rejects.toMatchObject({ code: 'HA_CLOSED' })
    await expect.poll(() => fake.openCount).toBe(0)
  })

  test('before the first connection leaves nothing behind', async () => {
    const silent = await broker({ isSilent: true })
    const transport = transportTo([silent])
    const waiting = transport.ready()
    transport.destroy()
    await expect(waiting).rejects.toMatchObject({ code: 'HA_CLOSED' })
    await expect.poll(() => silent.openCount).toBe(0)
  })
})

test('no password appears in an error, an event or the status', async () => {
  const seen: unknown[] = []
  const [refusing, good] = [await broker({ refusesLogin: true }), await broker()]
  const url = `rabbit://user:s3cret@${refusing.address},user:s3cret@${good.address}/`
  const transport = createTransport({ url, env: {}, failoverStrategy: 'round-robin' })
  cleanups.push(() => transport.destroy())
  for (const name of ['hostUp', 'hostDown', 'failover', 'outageStart', 'outageEnd'] as const) {
    transport.on(name, (event) => seen.push(event))
  }
  await transport.ready()
  good.behaviour.refusesLogin = true
  good.reset()
  const error: unknown = await transport.publish('', 'q', 'x', { timeoutMs: 500 }).catch((reason: unknown) => reason)
  await expect.poll(() => transport.status().hosts.every(({ lastError }) => lastError !== undefined)).toBe(true)
  const text = inspect([seen, error, transport.status(), transport], { depth: 20, showHidden: true })
  expect(text).toContain('403')
  expect(text).not.toContain('s3cret')
  expect(JSON.stringify(transport)).not.toContain('s3cret')
})
