import { expect, test } from 'vitest'
import { FakePort } from '../../../helpers/fake-port.js'
import { encode } from '../../../../src/amqp/oslo/envelope.js'

/** A reply to the call that was sent last. */
function replyTo(port: FakePort): { readonly content: Buffer; readonly properties: Record<string, unknown> } {
  const id = /_msg_id\\": \\"([\da-f]{32})/.exec(String(port.letters.at(-1)?.content))?.[1]
  const { content, headers } = encode({ result: 7, failure: null, ending: true, _msg_id: id })
  return { content, properties: { contentType: 'application/json', contentEncoding: 'utf-8', headers } }
}

test('everybody who waits for the end of all calls is told of it', async () => {
  const port = new FakePort()
  const call = port.messaging.rpcClient({ topic: 't' }, {}).call({}, 'echo')
  await expect.poll(() => port.sentTo('t').length).toBe(1)
  const order: string[] = []
  const drained = ['first', 'second'].map((name) => port.messaging.drain().then(() => order.push(name)))
  await Promise.race([...drained, new Promise((resolve) => setImmediate(resolve))])
  expect(order).toEqual([])
  port.deliver('reply', replyTo(port))
  expect(await call).toBe(7)
  await Promise.all(drained)
  expect(order).toHaveLength(2)
})
