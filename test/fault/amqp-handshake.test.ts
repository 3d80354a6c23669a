import { afterEach, describe, expect, test } from 'vitest'
import { createTransport, type AmqpTransport, type TransportOptions } from '../../src/amqp/index.js'
import { FakeAmqp, type FakeBehaviour, type FakeMethod } from '../helpers/fake-amqp.js'
import { kernelSockets } from '../helpers/kernel.js'

/** What a broker says until a connection can be used: start, tune, open-ok, and open-ok of a channel. */
const HANDSHAKE_BYTES = 36 + 20 + 13 + 16
const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await expect.poll(openSockets).toBe(0)
})

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length
}

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

const portOf = ({ address }: FakeAmqp): number => Number(address.split(':')[1])

/** What our own kernel still holds of connections to a broker. */
const leftOf = (fake: FakeAmqp): number =>
  kernelSockets({ remote: portOf(fake) }).filter(({ state }) => state !== 'TIME_WAIT').length

/** Connected to the second broker soon, whatever the first one does; nothing is left of the first. */
async function expectNextHost(behaviour: FakeBehaviour, withinMs: number): Promise<void> {
  const [bad, good] = [await broker(behaviour), await broker()]
  const transport = transportTo([bad, good])
  const startedAt = performance.now()
  await transport.publish('', 'q', 'x')
  expect(performance.now() - startedAt).toBeLessThan(withinMs)
  await expect.poll(() => transport.status().connections.consumer.state).toBe('connected')
  const { publisher, consumer } = transport.status().connections
  expect([publisher.host, consumer.host]).toEqual([good.address, good.address])
  await expect.poll(() => [bad.openCount, leftOf(bad)]).toEqual([0, 0])
}

describe('a handshake', () => {
  test.each<[string, keyof FakeBehaviour]>([
    ['reset', 'cutAfterBytes'],
    ['ended', 'endAfterBytes'],
  ])('that is %s after any byte is a failed attempt, and the next host is used', async (_, behaviour) => {
    const bad = await broker()
    const good = await broker()
    for (let bytes = 0; bytes < HANDSHAKE_BYTES; bytes += 1) {
      bad.behaviour[behaviour as 'cutAfterBytes'] = bytes
      const transport = createTransport({
        hosts: [bad.address, good.address],
        env: {},
        failoverStrategy: 'round-robin',
        standby: false,
      })
      const startedAt = performance.now()
      await transport.ready()
      expect(performance.now() - startedAt, `cut after ${String(bytes)} bytes`).toBeLessThan(1000)
      expect(transport.status().connections.publisher.host).toBe(good.address)
      expect(transport.status().hosts[0]?.lastError).toMatchObject({ code: 'HA_CONNECT' })
      transport.destroy()
    }
    await expect.poll(() => [bad.openCount, good.openCount, leftOf(bad)]).toEqual([0, 0, 0])
    // One byte more is a connection: the loop left none out.
    bad.behaviour[behaviour as 'cutAfterBytes'] = HANDSHAKE_BYTES
    const transport = transportTo([bad, good])
    const first = new Promise((resolve) => transport.once('hostUp', resolve))
    expect(await first).toMatchObject({ host: bad.address })
  })

  test.each<FakeMethod | 'header'>(['header', 'connection.start-ok', 'connection.open', 'channel.open'])(
    'that goes silent at %s is raced by the next host, and reset',
    async (silentFrom) => {
      await expectNextHost({ silentFrom }, 1500)
    },
  )

  test('that drips is bounded as a whole', async () => {
    const slow = await broker({ dripMs: 50 })
    const transport = transportTo([slow], { connectTimeoutMs: 400 })
    await expect
      .poll(() => transport.status().hosts[0]?.lastError?.message, { timeout: 2000 })
      .toMatch(/connect timed out/)
    await expect.poll(() => slow.openCount, { interval: 10 }).toBe(0)
    transport.destroy()
  })

  test('that drips is raced by the next host', async () => {
    await expectNextHost({ dripMs: 50 }, 1500)
  })

  test.each<[string, FakeBehaviour]>([
    ['garbage', { greeting: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') }],
    ['another protocol version', { greeting: Buffer.from('AMQP\0\0\x09\x01') }],
    ['a frame without an end', { greeting: Buffer.from([1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4, 0]) }],
    ['a frame of 2 GiB', { greeting: Buffer.from([1, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0]) }],
    ['a tiny frame_max', { frameMax: 16 }],
    ['a planned shutdown (320)', { refuses: { 'connection.open': planned('connection') } }],
    ['a shutdown while the channel opens', { refuses: { 'channel.open': planned('connection') } }],
    ['a refused channel', { refuses: { 'channel.open': { closes: 'channel', code: 504, text: 'CHANNEL_ERROR' } } }],
  ])('that ends in %s is a failed attempt, and the next host is used', async (_, behaviour) => {
    await expectNextHost(behaviour, 1500)
  })

  test('with a host that dies at once each time makes both connections leave it, together', async () => {
    await expectNextHost({ cutAfterBytes: HANDSHAKE_BYTES }, 1500)
  })

  test('whose loser answers late leaves nothing of it behind', async () => {
    const [slow, good] = [await broker({ dripMs: 5 }), await broker()]
    const transport = transportTo([slow, good])
    await transport.ready()
    await expect.poll(() => transport.status().connections.consumer.state).toBe('connected')
    const { publisher, consumer } = transport.status().connections
    const used = [publisher.host, consumer.host].filter((host) => host === slow.address).length
    await expect.poll(() => slow.openCount).toBe(used)
  })
})

describe('a refusal', () => {
  test('of the virtual host on every host names it, the host and the user, at once', async () => {
    const text = "NOT_ALLOWED - access to vhost 'nova' refused for user 'u'"
    const fake = await broker({ refuses: { 'connection.open': { closes: 'connection', code: 530, text } } })
    const transport = transportTo([fake], { vhost: 'nova', username: 'u', password: 's3cret' })
    const startedAt = performance.now()
    const consuming = transport.consume({ queue: 'q' }, () => undefined)
    for (const work of [transport.ready(), consuming]) {
      await expect(work).rejects.toMatchObject({
        code: 'HA_ACCESS_REFUSED',
        replyCode: 530,
        host: fake.address,
        vhost: 'nova',
      })
    }
    expect(performance.now() - startedAt).toBeLessThan(1000)
    const error = await transport.ready({ timeoutMs: 50 }).catch((reason: unknown) => reason)
    expect(String(error)).not.toContain('s3cret')
  })

  test('while running is tried again more and more slowly', async () => {
    const fake = await broker()
    const transport = transportTo([fake], { retryIntervalMs: 20, retryIntervalMaxMs: 40, reconnectSplayMs: 0 })
    await transport.ready()
    fake.behaviour.refusesLogin = true
    const before = fake.connectionCount
    fake.reset()
    await expect.poll(() => fake.connectionCount, { timeout: 5000 }).toBeGreaterThanOrEqual(before + 12)
    const attempts = fake.connectionCount - before
    // Two connections; their pauses double from 40 ms on.
    expect(attempts).toBeLessThan(20)
    expect(transport.status().hosts[0]?.lastError).toMatchObject({ cause: { code: 'HA_ACCESS_REFUSED' } })
  })
})

describe('a queue that the broker does not allow', () => {
  const deprecated = 'INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.'

  test.each(['declare', 'consume'])('is a typed error of %s() that names it, and no crash loop', async (how) => {
    const refusal = { closes: 'connection', code: 541, text: deprecated } as const
    const fake = await broker({ refuses: { 'queue.declare': refusal } })
    const transport = transportTo([fake], { retryIntervalMs: 10, reconnectSplayMs: 0 })
    const work =
      how === 'declare'
        ? transport.declare({ queues: [{ name: 'reply', type: 'classic', durable: false }] })
        : transport.consume({ queue: 'reply', type: 'classic', durable: false }, () => undefined)
    await expect(work).rejects.toMatchObject({ code: 'HA_QUEUE_KIND', queue: 'reply', message: /durable.*exclusive/ })
    expect(fake.asked.filter((name) => name === 'queue.declare')).toHaveLength(1)
  })

  test('is not confused with a node that cannot answer (541 timed out): the next host is asked', async () => {
    const text = 'INTERNAL_ERROR - operation timed out'
    const bad = await broker({ refuses: { 'queue.declare': { closes: 'connection', code: 541, text } } })
    const good = await broker()
    const transport = transportTo([bad, good], { reconnectSplayMs: 0 })
    await transport.ready()
    await transport.declare({ queues: [{ name: 'audit' }] })
    expect(good.asked).toContain('queue.declare')
  })
})

test('a connection that ends in the middle of declare() costs nothing but time', async () => {
  const [first, second] = [await broker({ silentFrom: 'exchange.declare' }), await broker()]
  const transport = transportTo([first, second], { reconnectSplayMs: 0 })
  await transport.ready()
  const declared = transport.declare({ exchanges: [{ name: 'events', type: 'topic' }] })
  await expect.poll(() => first.asked).toContain('exchange.declare')
  first.reset()
  await declared
  expect(second.asked).toContain('exchange.declare')
})

function planned(closes: 'connection' | 'channel') {
  return { closes, code: 320, text: "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'" }
}
