import { afterAll, afterEach, expect, test } from 'vitest'
import type { AmqpTransport } from '../../../src/amqp/index.js'
import { freeze, kill, nodes } from '../../cluster/index.js'
import { cleanUp, declareOn, mend, nodeInUse, onNode, openTransport, uniqueName } from './broker.js'

const SETTLE = { timeout: 60_000, interval: 100 }
const queue = uniqueName('redundant')
const transports: AmqpTransport[] = []

afterEach(async () => {
  for (const transport of transports.splice(0)) transport.destroy()
  await mend()
})
afterAll(() => cleanUp([queue]))

const open = (...args: Parameters<typeof openTransport>): AmqpTransport => {
  const transport = openTransport(...args)
  transports.push(transport)
  return transport
}

/** Consumes on two hosts; the queue is led by a node that is neither of them. */
async function consume(handled: string[], handle: () => unknown = () => undefined) {
  const transport = open({ hosts: nodes('rabbit').map(({ host }) => host) })
  await transport.ready()
  const inUse = nodeInUse(transport)
  const others = nodes('rabbit').filter(({ n }) => n !== inUse)
  await declareOn(others[0]?.n ?? 1, queue)
  const consumer = await transport.consume({ queue, dedupe: {} }, async ({ properties }) => {
    handled.push(String(properties['messageId']))
    await handle()
  })
  await expect.poll(() => consumer.status().hosts.length, SETTLE).toBe(2)
  return { transport, consumer, inUse, others: others.map(({ host }) => host) }
}

async function publish(hosts: readonly string[], count: number, from = 0): Promise<readonly string[]> {
  const publisher = open({ hosts: [...hosts], standby: false })
  const ids = Array.from({ length: count }, (_, i) => String(from + i))
  await Promise.all(ids.map((messageId) => publisher.publish('', queue, 'x', { messageId })))
  return ids
}

const consumers = (n: number): Promise<number> =>
  onNode(n, async (channel) => (await channel.checkQueue(queue)).consumerCount)

test('messages come over the other host before anybody has noticed that the first one is frozen', async () => {
  const handled: string[] = []
  const { transport, inUse, others } = await consume(handled)
  let hasNoticed = false
  transport.on('hostDown', () => (hasNoticed = true))
  await freeze('rabbit', inUse)
  const ids = await publish(others, 40)
  await expect.poll(() => handled.length).toBeGreaterThan(0)
  expect(hasNoticed).toBe(false)
  // What the frozen node got comes when the cluster has given it up.
  await expect.poll(() => new Set(handled).size, SETTLE).toBe(ids.length)
  expect(handled).toHaveLength(ids.length)
}, 120_000)

test('after the loss of a node it consumes on two others, and nothing is left of what it had', async () => {
  const handled: string[] = []
  const { consumer, inUse, others } = await consume(handled)
  await kill('rabbit', inUse)
  await expect.poll(() => [...consumer.status().hosts].sort(), SETTLE).toEqual(others.map((host) => `${host}:5672`))
  const ids = await publish(others, 100)
  await expect.poll(() => new Set(handled).size, SETTLE).toBe(ids.length)
  // A queue counts the consumers of a node that is away until it is back.
  await mend()
  const state = async () => ({ count: await consumers(inUse), hosts: consumer.status().hosts.length })
  await expect.poll(state, SETTLE).toEqual({ count: 2, hosts: 2 })
}, 120_000)

test('a consumer that is closed has given back everything on both hosts', async () => {
  const handled: string[] = []
  const gates: (() => void)[] = []
  const { consumer, inUse, others } = await consume(handled, () => new Promise<void>((resolve) => gates.push(resolve)))
  await publish(others, 200)
  await expect.poll(() => handled.length).toBe(16)
  const closed = consumer.close()
  for (const open of gates) open()
  await closed
  const left = await onNode(inUse, (channel) => channel.checkQueue(queue))
  expect(left).toMatchObject({ messageCount: 200 - 16, consumerCount: 0 })
}, 120_000)
