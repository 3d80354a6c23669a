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

test('requests wait while replies cannot arrive', async () => {
  const port = new FakePort()
  const client = port.messaging.rpcClient({ topic: 't' }, {})
  const first = client.call({}, 'echo')
  await expect.poll(() => port.sentTo('t').length).toBe(1)
  port.unsubscribe('reply')
  const second = client.call({}, 'echo')
  await expect(client.call({}, 'echo', {}, { timeoutMs: 10 })).rejects.toMatchObject({
    code: 'HA_TIMEOUT',
    maybeExecuted: false,
  })
  expect(port.sentTo('t').length).toBe(1)
  port.resubscribe('reply')
  await expect.poll(() => port.sentTo('t').length).toBe(2)
  port.deliver('reply', replyTo(port))
  expect(await second).toBe(7)
  port.messaging.close(new Error('closed'))
  await expect(first).rejects.toThrow('closed')
})

test('a request that may be lost is sent again once, when replies can arrive', async () => {
  const port = new FakePort()
  const call = port.messaging.rpcClient({ topic: 't' }, {}).call({}, 'echo', {}, { idempotent: true })
  await expect.poll(() => port.sentTo('t').length).toBe(1)
  // The order in which a lost host is noticed.
  port.unsubscribe('reply')
  port.messaging.onServing()
  await new Promise((resolve) => setImmediate(resolve))
  expect(port.sentTo('t').length).toBe(1)
  port.resubscribe('reply')
  await expect.poll(() => port.sentTo('t').length).toBe(2)
  port.deliver('reply', replyTo(port))
  expect(await call).toBe(7)
  expect(port.sentTo('t').length).toBe(2)
})

test('as many requests wait as the outbox may hold, and those that gave up leave room', async () => {
  const port = new FakePort()
  const client = port.messaging.rpcClient({ topic: 't' }, {})
  await new Promise((resolve) => setImmediate(resolve))
  port.unsubscribe('reply')
  const full = { code: 'HA_BACKPRESSURE', safeToRetry: true }
  const tooLarge = client.call({}, 'echo', { value: 'x'.repeat(200_000) })
  await expect(tooLarge).rejects.toMatchObject(full)
  const stop = new AbortController()
  const waiting = Array.from({ length: 3 }, () => client.call({}, 'echo', {}, { signal: stop.signal }))
  const ended = Promise.allSettled(waiting)
  await expect(client.call({}, 'echo')).rejects.toMatchObject(full)
  stop.abort(new Error('left'))
  for (const result of await ended) expect(result).toMatchObject({ status: 'rejected', reason: { message: 'left' } })
  await expect(client.call({}, 'echo', {}, { timeoutMs: 10 })).rejects.toMatchObject({ code: 'HA_TIMEOUT' })
  expect(port.sentTo('t').length).toBe(0)
})

test('a refusal of the queue for replies ends the calls that wait for it; the next one asks again', async () => {
  const port = new FakePort()
  let asked = 0
  port.onConsume = () => {
    asked += 1
    if (asked < 3) throw new Error('refused')
  }
  const client = port.messaging.rpcClient({ topic: 't' }, {})
  await expect(client.call({}, 'echo')).rejects.toThrow('refused')
  await expect(client.call({}, 'echo')).rejects.toThrow('refused')
  const call = client.call({}, 'echo')
  await expect.poll(() => port.sentTo('t').length).toBe(1)
  port.deliver('reply', replyTo(port))
  expect(await call).toBe(7)
})
