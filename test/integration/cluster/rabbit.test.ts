import { connect, type ChannelModel } from 'amqplib'
import { afterEach, describe, expect, test } from 'vitest'
import {
  alarm,
  blackhole,
  freeze,
  heal,
  kill,
  node,
  nodes,
  partition,
  start,
  status,
  stop,
  up,
  whole,
} from '../../cluster/index.js'
import { clusterCommand, openRaw, RawClient, statusOf } from './clients.js'

const PROTOCOL = 'AMQP\0\0\u0009\u0001'

afterEach(async () => {
  await up(['rabbit'])
})

test('status prints processes, roles and parameters', async () => {
  const text = await clusterCommand('status', 'rabbit')
  expect(text).toMatch(/rabbit: whole, net_ticktime \d+ s/)
  expect(text).toMatch(/127\.0\.2\.1:5672 {2}pid \d+ {2}running {2}running, cluster r1@localhost/)
})

describe('processes', () => {
  test('a killed node leaves the cluster at once, and start brings it back', async () => {
    await kill('rabbit', 3)
    using refused = new RawClient('rabbit', 3)
    expect(await refused.connected()).toBe('ECONNREFUSED')
    await expect
      .poll(async () => (await statusOf('rabbit', 1)).role, { timeout: 30_000, interval: 300 })
      .not.toContain('r3@')
    await start('rabbit', 3)
    await whole('rabbit')
    await withConnection(3, () => Promise.resolve())
  })

  test('after all nodes were killed, up brings durable queues and persistent messages back', async () => {
    const queue = 'cluster_verbs'
    await withConnection(1, async (connection) => {
      const channel = await connection.createConfirmChannel()
      await channel.assertQueue(queue, { durable: true })
      channel.sendToQueue(queue, Buffer.from('survivor'), { persistent: true })
      await channel.waitForConfirms()
    })
    await Promise.all(nodes('rabbit').map(({ n }) => kill('rabbit', n)))
    expect(await up(['rabbit'])).toEqual({ started: [] })
    await withConnection(2, async (connection) => {
      const channel = await connection.createChannel()
      const message = await channel.get(queue, { noAck: true })
      expect(message === false ? 'nothing' : message.content.toString()).toBe('survivor')
      await channel.deleteQueue(queue)
    })
  })

  test('a stopped node closes its connections with a reason', async () => {
    const { host, port } = node('rabbit', 2)
    const connection = await connect(`amqp://${host}:${port}`)
    const closed = new Promise<string>((resolve) => {
      connection.on('error', (error: Error) => resolve(error.message))
      connection.on('close', () => resolve('close'))
    })
    await stop('rabbit', 2)
    expect(await closed).toMatch(/CONNECTION_FORCED|close/)
    expect((await statusOf('rabbit', 2)).process).toBe('dead')
  })

  test('a node frozen for longer than net_ticktime is restarted by heal', async () => {
    const before = (await statusOf('rabbit', 2)).pid
    await freeze('rabbit', 2)
    using client = await openRaw('rabbit', 2)
    expect(await client.ask(PROTOCOL, 700)).toBe('silence')
    await expect
      .poll(async () => (await statusOf('rabbit', 1)).role, { timeout: 60_000, interval: 300 })
      .not.toContain('r2@')
    await heal('rabbit', 2)
    await whole('rabbit')
    expect((await statusOf('rabbit', 2)).pid).not.toBe(before)
  })

  test('a node frozen for a moment is not restarted by heal', async () => {
    const before = (await statusOf('rabbit', 2)).pid
    await freeze('rabbit', 2)
    await heal('rabbit', 2)
    await whole('rabbit')
    expect((await statusOf('rabbit', 2)).pid).toBe(before)
  })
})

describe('network', () => {
  test('a blackhole cuts clients but not the cluster', async () => {
    await blackhole('rabbit', 1)
    using client = new RawClient('rabbit', 1)
    expect(await client.connected(700)).toBe('silence')
    expect(await statusOf('rabbit', 1)).toMatchObject({ isMember: true, faults: ['blackhole'] })
  })

  test('a partitioned node loses the others while clients reach it, and heal makes it a member again', async () => {
    await partition('rabbit', 3)
    await expect
      .poll(async () => (await statusOf('rabbit', 1)).role, { timeout: 60_000, interval: 300 })
      .not.toContain('r3@')
    await expect
      .poll(async () => (await statusOf('rabbit', 3)).role, { timeout: 60_000, interval: 300 })
      .toContain('cluster r3@localhost,')
    expect((await statusOf('rabbit', 2)).role).toContain('cluster r1@localhost r2@localhost')
    await withConnection(3, () => Promise.resolve())
    await heal('rabbit')
    await whole('rabbit')
  })
})

describe('alarm', () => {
  test('a memory alarm on one node blocks a publisher on another, until it is cleared', async () => {
    await withConnection(2, async (connection) => {
      const events: string[] = []
      connection.on('blocked', () => events.push('blocked'))
      connection.on('unblocked', () => events.push('unblocked'))
      const channel = await connection.createChannel()
      await alarm(1, true)
      expect((await statusOf('rabbit', 1)).role).toContain('alarms memory')
      channel.publish('amq.fanout', '', Buffer.from('x'))
      await expect.poll(() => events, { timeout: 20_000, interval: 300 }).toEqual(['blocked'])
      await heal('rabbit', 1)
      await expect.poll(() => events, { timeout: 20_000, interval: 300 }).toEqual(['blocked', 'unblocked'])
    })
    expect((await statusOf('rabbit', 1)).role).toContain('alarms none')
  })
})

test('net_ticktime can be changed while the cluster runs', async () => {
  await up(['rabbit'], { netTicktimeSeconds: 9 })
  expect((await status(['rabbit']))[0]?.settings.netTicktimeSeconds).toBe(9)
  await up(['rabbit'], { netTicktimeSeconds: 8 })
  expect((await status(['rabbit']))[0]?.settings.netTicktimeSeconds).toBe(8)
})

async function withConnection(n: number, action: (connection: ChannelModel) => Promise<void>): Promise<void> {
  const { host, port } = node('rabbit', n)
  const connection = await connect(`amqp://${host}:${port}`, { timeout: 10_000 })
  try {
    await action(connection)
  } finally {
    await connection.close()
  }
}
