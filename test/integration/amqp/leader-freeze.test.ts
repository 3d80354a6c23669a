import { afterAll, afterEach, expect, test } from 'vitest'
import type { AmqpTransport } from '../../../src/amqp/index.js'
import { freeze, nodes } from '../../cluster/index.js'
import { cleanUp, declareOn, mend, nodeInUse, onNode, openTransport, uniqueName } from './broker.js'

/** Channels that can have had a message: before the freeze, and until the cluster took the frozen node for dead. */
const MOST_COPIES = 6
const queue = uniqueName('leader')
let transport: AmqpTransport | undefined

afterEach(async () => {
  transport?.destroy()
  await mend()
})
afterAll(() => cleanUp([queue]))

/** How often each message is in the queue, which is empty afterwards. */
async function readBack(n: number): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>()
  await onNode(n, async (channel) => {
    for (let message = await channel.get(queue); message !== false; message = await channel.get(queue)) {
      const id = String(message.properties.messageId)
      found.set(id, (found.get(id) ?? 0) + 1)
      channel.ack(message)
    }
  })
  return found
}

test('a freeze of the node that has the connections and leads the queue costs a pause, no error and no message', async () => {
  transport = openTransport()
  await transport.ready()
  const inUse = nodeInUse(transport)
  await declareOn(inUse, queue)
  const confirmed: string[] = []
  let isOver = false
  const publish = async (worker: number): Promise<void> => {
    for (let i = 0; !isOver; i += 1) {
      const messageId = `${String(worker)}-${String(i)}`
      await transport?.publish('', queue, 'x', { messageId })
      confirmed.push(messageId)
    }
  }
  const workers = Array.from({ length: 8 }, (_, worker) => publish(worker))
  await expect.poll(() => confirmed.length).toBeGreaterThan(100)
  await freeze('rabbit', inUse)
  const before = confirmed.length
  await expect.poll(() => confirmed.length, { timeout: 60_000 }).toBeGreaterThan(before + 100)
  isOver = true
  await Promise.all(workers)
  // A fresh channel gets nothing of the queue before the cluster has taken the frozen node for dead.
  await mend()
  const found = await readBack((inUse % nodes('rabbit').length) + 1)
  expect(confirmed.filter((id) => !found.has(id))).toEqual([])
  expect(Math.max(...found.values())).toBeLessThanOrEqual(MOST_COPIES)
}, 120_000)
