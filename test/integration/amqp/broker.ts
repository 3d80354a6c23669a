import { randomUUID } from 'node:crypto'
import amqplib, { type Channel, type ChannelModel } from 'amqplib'
import { createTransport, type AmqpTransport, type TransportOptions } from '../../../src/amqp/index.js'
import { heal, node, nodes, start, whole } from '../../cluster/index.js'
import { waitFor } from '../../cluster/wait.js'

/** Our clients connect from here, so that a blackhole can hit them alone. */
export const CLIENT_ADDRESS = '127.0.9.21'

const WHOLE_TIMEOUT_MS = 100_000

/** A transport to all three nodes. */
export function openTransport(options: TransportOptions = {}): AmqpTransport {
  const hosts = nodes('rabbit').map(({ host }) => host)
  return createTransport({ hosts, env: {}, heartbeatMs: 5000, localAddress: CLIENT_ADDRESS, ...options })
}

/** A name that no other test uses. */
export function uniqueName(what: string): string {
  return `test-${what}-${randomUUID().slice(0, 8)}`
}

/** Number of the node that the transport publishes to, or consumes from. */
export function nodeInUse(transport: AmqpTransport, role: 'publisher' | 'consumer' = 'publisher'): number {
  const { host } = transport.status().connections[role]
  const found = nodes('rabbit').find((one) => `${one.host}:${String(one.port)}` === host)
  if (found === undefined) throw new Error('the transport is not connected')
  return found.n
}

/** Runs something on a plain amqplib channel to one node. */
export async function onNode<T>(n: number, run: (channel: Channel, model: ChannelModel) => Promise<T>): Promise<T> {
  const model = await amqplib.connect(`amqp://${node('rabbit', n).host}`)
  model.on('error', () => undefined)
  try {
    const channel = await model.createChannel()
    channel.on('error', () => undefined)
    return await run(channel, model)
  } finally {
    await model.close().catch(() => undefined)
  }
}

/** Declares a quorum queue whose leader is on this node. */
export async function declareOn(n: number, queue: string): Promise<void> {
  await onNode(n, (channel) => channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } }))
}

/** Deletes queues and exchanges that a test made. A node that is back may not have its queues yet: refused until then. */
export async function cleanUp(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const remove = onNode.bind(undefined, 1, async (channel: Channel) => {
      await channel.deleteQueue(name)
      await channel.deleteExchange(name)
    })
    await waitFor(`removal of ${name}`, { timeoutMs: 60_000, everyMs: 500 }, () =>
      remove().then(() => undefined, String),
    )
  }
}

/** Ends every fault and waits for the cluster to be as it was. */
export async function mend(): Promise<void> {
  await heal('rabbit')
  await start('rabbit')
  await whole('rabbit', { timeoutMs: WHOLE_TIMEOUT_MS })
}
