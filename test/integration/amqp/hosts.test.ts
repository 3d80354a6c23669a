import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AmqpTransport, BlockedEvent, FailoverEvent, RefusedEvent } from '../../../src/amqp/index.js'
import { alarm, nodes, reset } from '../../cluster/index.js'
import { cleanUp, declareOn, mend, nodeInUse, onNode, openTransport, uniqueName } from './broker.js'
import { Traffic } from './traffic.js'

const POLL = { timeout: 20_000 }
const names = nodes('rabbit').map(({ host }) => host)
const made: string[] = []
const transports: AmqpTransport[] = []

function open(options: Parameters<typeof openTransport>[0] = {}): AmqpTransport {
  const transport = openTransport(options)
  transports.push(transport)
  return transport
}

function named(what: string): string {
  const name = uniqueName(what)
  made.push(name)
  return name
}

afterEach(async () => {
  for (const transport of transports.splice(0)) await transport.close()
})
afterAll(() => cleanUp(made))

describe('setHosts', () => {
  let transport: AmqpTransport
  beforeEach(async () => {
    transport = open()
    await transport.ready()
  })

  test('moves connections off a host that is removed, under traffic, without an error or a lost message', async () => {
    const queue = named('moved')
    const inUse = nodeInUse(transport)
    await declareOn((inUse % names.length) + 1, queue)
    const failovers: FailoverEvent[] = []
    transport.on('failover', (event) => failovers.push(event))
    const traffic = await Traffic.start(transport, queue)
    await traffic.more(200)
    transport.setHosts(names.filter((_, index) => index !== inUse - 1))
    await traffic.more(200)
    await traffic.finish()
    expect(nodeInUse(transport)).not.toBe(inUse)
    expect(traffic.errors).toEqual([])
    expect(failovers).toMatchObject([{ cause: { code: 'HA_CONNECTION_LOST', message: /removed/ } }])
    expect(transport.status().hosts).toHaveLength(2)
  })

  test('leaves connections alone whose host stays, and takes new hosts', async () => {
    const kept = names[nodeInUse(transport) - 1] ?? ''
    const { since } = transport.status().connections.publisher
    transport.setHosts([kept, { host: '127.0.2.9', port: 5672 }])
    await transport.publish('', named('unused'), 'x', { mandatory: false })
    expect(transport.status().connections.publisher).toMatchObject({ since, state: 'connected' })
    expect(transport.status().hosts.map(({ host }) => host)).toEqual([`${kept}:5672`, '127.0.2.9:5672'])
  })

  test('refuses a list that cannot work, and changes nothing', () => {
    expect(() => transport.setHosts([])).toThrow(expect.objectContaining({ code: 'HA_INVALID_OPTION' }) as Error)
    expect(() => transport.setHosts(['h', 'h:5672'])).toThrow(/twice/)
    expect(transport.status().hosts).toHaveLength(names.length)
  })

  test('ends the pause of a transport that reaches no host', async () => {
    const lost = open({ hosts: ['127.0.2.8'], retryIntervalMs: 60_000, retryIntervalMaxMs: 60_000 })
    await expect.poll(() => lost.status().hosts[0]?.state, POLL).toBe('down')
    lost.setHosts(names)
    await lost.ready({ timeoutMs: 2000 })
  })
})

describe('credentials', () => {
  test('are asked for at each attempt', async () => {
    const asked: string[] = []
    const credentials = (host: string): Promise<{ username: string; password: string }> => {
      asked.push(host)
      return Promise.resolve({ username: 'guest', password: 'guest' })
    }
    const transport = open({ credentials, password: 'not used' })
    await transport.ready()
    await expect.poll(() => asked.length, POLL).toBe(3)
    await reset('rabbit', nodeInUse(transport))
    await expect.poll(() => asked.length, POLL).toBeGreaterThanOrEqual(5)
    await transport.ready()
    for (const host of asked) expect(names.map((name) => `${name}:5672`)).toContain(host)
  })

  test.each<[string, () => Promise<never>]>([
    ['that are refused to us', () => Promise.reject(new Error('no token today'))],
    ['that never come', () => new Promise<never>(() => undefined)],
  ])('%s are a failed attempt', async (_, credentials) => {
    const transport = open({ credentials, connectTimeoutMs: 300 })
    await expect(transport.ready({ timeoutMs: 1500 })).rejects.toMatchObject({ code: 'HA_TIMEOUT', phase: 'ready' })
    for (const { lastError } of transport.status().hosts) expect(lastError).toMatchObject({ code: 'HA_CONNECT' })
  })
})

describe('events', () => {
  test('tell of a broker that takes no messages, and that takes them again', async () => {
    const queue = named('blocked')
    await onNode(1, (channel) => channel.assertQueue(queue, { durable: true }))
    const transport = open()
    await transport.ready()
    const events: BlockedEvent[] = []
    transport.on('blocked', (event) => events.push(event))
    transport.on('unblocked', (event) => events.push(event))
    await alarm(nodeInUse(transport), true)
    try {
      const published = transport.publish('', queue, 'x', { timeoutMs: 60_000 })
      await expect.poll(() => events.length, POLL).toBe(1)
      expect(events[0]).toMatchObject({ role: 'publisher', reason: 'low on memory' })
      await alarm(nodeInUse(transport), false)
      await published
      expect(events).toHaveLength(2)
      expect(events[1]).toMatchObject({ role: 'publisher', reason: undefined })
    } finally {
      await mend()
    }
  })

  test('tell of a password that is wrong on one host, which is passed over', async () => {
    const [bad = '', ...good] = names
    const url = `rabbit://guest:wr0ng@${bad},${good.map((name) => `guest:guest@${name}`).join(',')}/`
    const transport = openTransport({ hosts: undefined, url, failoverStrategy: 'round-robin' } as object)
    transports.push(transport)
    const events: RefusedEvent[] = []
    transport.on('refused', (event) => events.push(event))
    await transport.ready()
    expect(nodeInUse(transport)).not.toBe(1)
    expect(events).toMatchObject([{ host: `${bad}:5672`, vhost: '/', error: { code: 'HA_ACCESS_REFUSED' } }])
    expect(JSON.stringify(events)).not.toContain('wr0ng')
  })

  test('tell of a user that is taken away while the transport runs, and the transport comes back', async () => {
    let password = 'guest'
    const transport = open({ credentials: () => ({ username: 'guest', password }), retryIntervalMaxMs: 200 })
    const events: RefusedEvent[] = []
    transport.on('refused', (event) => events.push(event))
    await transport.ready()
    password = 'wr0ng'
    await reset('rabbit', nodeInUse(transport))
    await expect.poll(() => new Set(events.map(({ host }) => host)).size, POLL).toBe(3)
    const waiting = transport.publish('', named('later'), 'x', { mandatory: false })
    password = 'guest'
    await waiting
    expect(transport.status().availability.outageCount).toBe(1)
  })
})

test('a transport that is told to gives up after so many rounds', async () => {
  const transport = open({ hosts: ['127.0.2.8', '127.0.2.9'], retryIntervalMs: 10, maxRetries: 2 })
  const waiting = transport.publish('', 'q', 'x')
  await expect(waiting).rejects.toMatchObject({ code: 'HA_CLOSED', cause: { code: 'HA_NO_ENDPOINT' } })
  expect(transport.status()).toMatchObject({ state: 'closed' })
})
