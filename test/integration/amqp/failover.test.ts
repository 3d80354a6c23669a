import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AmqpTransport, FailoverEvent } from '../../../src/amqp/index.js'
import { blackhole, freeze, kill, nodes, stop } from '../../cluster/index.js'
import { cleanUp, CLIENT_ADDRESS, declareOn, mend, nodeInUse, openTransport, uniqueName } from './broker.js'
import { Traffic } from './traffic.js'

/** What the package promises is limit + 2.5 s; a slow machine gets more. */
const SLOW_ALLOWANCE_MS = 3000

let transport: AmqpTransport
let queue: string
let failovers: FailoverEvent[]

beforeEach(() => {
  queue = uniqueName('failover')
  transport = openTransport()
  failovers = []
  transport.on('failover', (event) => failovers.push(event))
})

afterEach(async () => {
  await transport.close()
  await mend()
  await cleanUp([queue])
})

/** Traffic through a queue whose leader is not on the node in use: its election would be the cluster's pause, not ours. */
async function startTraffic(): Promise<{ traffic: Traffic; inUse: number }> {
  await transport.ready()
  const inUse = nodeInUse(transport)
  await declareOn((inUse % nodes('rabbit').length) + 1, queue)
  const traffic = await Traffic.start(transport, queue)
  await traffic.more(300)
  traffic.restartGaps()
  return { traffic, inUse }
}

describe('under traffic of 16 publishers and a consumer', () => {
  test.each<[string, number, (inUse: number) => Promise<void>]>([
    ['a crash of the node in use', 1000, (inUse) => kill('rabbit', inUse)],
    ['a freeze of the node in use', 3500, (inUse) => freeze('rabbit', inUse)],
    ['packets of this client that are dropped', 3500, (inUse) => blackhole('rabbit', inUse, { from: CLIENT_ADDRESS })],
  ])('%s costs a pause, no error and no message', async (what, limitMs, fault) => {
    const { traffic, inUse } = await startTraffic()
    await fault(inUse)
    await traffic.more(500)
    const { gaps } = traffic
    console.log(`${what}: pause ${gaps.publish.toFixed(0)} ms publishing, ${gaps.deliver.toFixed(0)} ms consuming`)
    expect(nodeInUse(transport)).not.toBe(inUse)
    expect(failovers).toHaveLength(1)
    expect(failovers[0]).toMatchObject({ from: expect.stringContaining(`127.0.2.${String(inUse)}:`) as string })
    expect(gaps.publish).toBeLessThan(limitMs + SLOW_ALLOWANCE_MS)
    await mend()
    await traffic.finish()
    expect(traffic.errors).toEqual([])
    expect(traffic.unsettled).toBe(0)
    expect(transport.status().outbox).toEqual({ messages: 0, bytes: 0, waiting: 0 })
  })

  test('a node that ends properly costs a pause, no error and no message', async () => {
    const { traffic, inUse } = await startTraffic()
    await stop('rabbit', inUse)
    await traffic.more(500)
    expect(nodeInUse(transport)).not.toBe(inUse)
    await mend()
    await traffic.finish()
    expect(traffic.errors).toEqual([])
  })
})

test('a consumer on an idle connection to a frozen node goes on elsewhere', async () => {
  await transport.close()
  transport = openTransport({ heartbeatMs: 2000 })
  await transport.ready()
  const inUse = nodeInUse(transport)
  await declareOn((inUse % nodes('rabbit').length) + 1, queue)
  const seen: string[] = []
  await transport.consume({ queue }, (message) => void seen.push(message.content.toString()))
  await freeze('rabbit', inUse)
  await expect
    .poll(() => transport.status().connections.consumer.host, { timeout: 20_000 })
    .not.toContain(`2.${String(inUse)}:`)
  await transport.publish('', queue, 'after')
  await expect.poll(() => seen, { timeout: 20_000 }).toEqual(['after'])
})
