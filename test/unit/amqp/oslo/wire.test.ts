import { expect, test } from 'vitest'
import type { Letter } from '../../../../src/amqp/entry.js'
import { decode } from '../../../../src/amqp/oslo/envelope.js'
import { RemoteError } from '../../../../src/amqp/index.js'
import { FakePort } from '../../../helpers/fake-port.js'
import { propertiesOf, VECTORS, withoutIds, type Vector } from './vectors.js'

const CONTEXT = { user_id: 'u1', request_id: 'req-1' }
const VALUE = { a: [1, 'é', null, true] }

function vector(kind: string, text = ''): Vector {
  const found = VECTORS.find((one) => one.kind === kind && one.body.includes(text))
  if (found === undefined) throw new Error(`no vector of kind ${kind}`)
  return found
}

/** What went out, in the form of the captured messages. */
function captured({ exchange, routingKey, content, properties }: Letter): Omit<Vector, 'kind'> {
  const { contentType, contentEncoding, headers, persistent, priority, expiration, mandatory } = properties
  return {
    exchange,
    routing_key: withoutIds(routingKey),
    mandatory,
    properties: {
      content_type: contentType as string,
      content_encoding: contentEncoding as string,
      application_headers: headers ?? {},
      delivery_mode: persistent ? 2 : 1,
      priority: priority as number,
      ...(expiration === undefined ? {} : { expiration: expiration as string }),
    },
    body: withoutIds(content.toString()),
  }
}

/** A captured message with its identifiers replaced; `mandatory` is no part of what a receiver sees. */
function expected(one: Vector, mandatory: boolean): Omit<Vector, 'kind'> {
  const { exchange, properties, routing_key, body } = one
  return { exchange, properties, mandatory, routing_key: withoutIds(routing_key), body: withoutIds(body) }
}

/** With the traceback of a failure emptied: it is each side's own. */
function withoutTrace(one: Omit<Vector, 'kind'>): object {
  const outer = JSON.parse(one.body) as Record<string, string>
  const message = JSON.parse(outer['oslo.message'] as string) as Record<string, unknown>
  const { failure } = message
  if (typeof failure !== 'string') return one
  const fields = JSON.parse(failure) as Record<string, unknown>
  expect(Array.isArray(fields['tb'])).toBe(true)
  return { ...one, body: { ...message, failure: { ...fields, tb: [] } } }
}

function lastOf(port: FakePort): Omit<Vector, 'kind'> {
  return captured(port.letters.at(-1) as Letter)
}

test('a call is written as Python writes it', async () => {
  const port = new FakePort()
  const client = port.messaging.rpcClient({ topic: 'interop', version: '1.0' }, {})
  const call = client.call(CONTEXT, 'echo', { value: VALUE }, { timeoutMs: 10_000 })
  await expect.poll(() => port.letters.length).toBe(1)
  expect(lastOf(port)).toEqual(expected(vector('call', 'echo'), true))
  port.messaging.close(new Error('over'))
  await expect(call).rejects.toThrow('over')
})

test('a monitored call to one server is written as Python writes it', async () => {
  const port = new FakePort()
  const settings = { server: 'py1', callMonitorTimeoutMs: 2000, timeoutMs: 20_000 }
  const client = port.messaging.rpcClient({ topic: 'interop', version: '1.0' }, {}).prepare(settings)
  const call = client.call(CONTEXT, 'slow', { seconds: 5 })
  await expect.poll(() => port.letters.length).toBe(1)
  expect(lastOf(port)).toEqual(expected(vector('call', 'slow'), true))
  port.messaging.close(new Error('over'))
  await expect(call).rejects.toThrow('over')
})

test('a cast and a fanout are written as Python writes them', async () => {
  const port = new FakePort()
  const client = port.messaging.rpcClient({ topic: 'interop', version: '1.0' }, {})
  await client.cast({ user_id: 'u1' }, 'note', { value: 'cast' })
  expect(lastOf(port)).toEqual(expected(vector('cast/fanout', 'cast'), true))
  await client.fanout({ user_id: 'u1' }, 'note', { value: 'fanout' })
  expect(lastOf(port)).toEqual(expected(vector('cast/fanout', 'fanout'), false))
})

test('replies are written as Python writes them', async () => {
  const port = new FakePort()
  const endpoint = {
    echo: (_: unknown, { value }: { value: unknown }): unknown => value,
    boom: (): never => {
      throw new RemoteError({
        remoteClass: 'ValueError',
        remoteModule: 'builtins',
        remoteMessage: 'kaboom',
        remoteTraceback: ['Traceback (most recent call last):\n', 'ValueError: kaboom\n'],
      })
    },
  }
  await port.messaging.rpcServer({ topic: 'interop', server: 'n' }, endpoint, {})
  for (const [method, kind] of [
    ['echo', 'reply'],
    ['boom', 'failure'],
    ['nosuch', 'failure'],
  ] as const) {
    const request = vector('call', method)
    await port.deliver('interop', { content: Buffer.from(request.body), properties: propertiesOf(request) })
    await expect.poll(() => port.letters.length).toBeGreaterThan(0)
    const reply = expected(vector(kind, method === 'echo' ? 'u00e9' : method === 'boom' ? 'kaboom' : 'nosuch'), true)
    expect(withoutTrace(lastOf(port))).toEqual(withoutTrace(reply))
    port.letters.length = 0
  }
})

test('signs of life are written as Python writes them', async () => {
  const port = new FakePort()
  let finish = (): void => undefined
  const slow = (): Promise<string> => new Promise((resolve) => (finish = () => resolve('slept 5')))
  await port.messaging.rpcServer({ topic: 'interop', server: 'py1' }, { slow }, {})
  const request = vector('call', 'slow')
  const handled = port.deliver('interop.py1', { content: Buffer.from(request.body), properties: propertiesOf(request) })
  await expect.poll(() => port.letters.length, { timeout: 5000 }).toBe(1)
  expect(lastOf(port)).toEqual(expected(vector('call-monitor-heartbeat'), true))
  finish()
  await handled
  await expect.poll(() => port.letters.length).toBe(2)
  expect(lastOf(port)).toEqual(expected(vector('reply', 'slept'), true))
})

test('a caller that does not monitor its call gets no signs of life', async () => {
  const port = new FakePort()
  const slow = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1500))
  await port.messaging.rpcServer({ topic: 'interop', server: 'n' }, { echo: slow }, {})
  const request = vector('call', 'echo')
  await port.deliver('interop', { content: Buffer.from(request.body), properties: propertiesOf(request) })
  await expect.poll(() => port.letters.length).toBe(1)
  expect(lastOf(port).body).toContain('\\"ending\\": true')
})

test.each([
  ['messagingv2', 1, '{\\"n\\": 1}'],
  ['messaging', 2, '{"n": 2}'],
] as const)('a notification in the format of %s is written as Python writes it', async (driver, n, text) => {
  const port = new FakePort()
  const notifier = port.messaging.notifier({ publisherId: 'interop.host1', drivers: [driver] })
  await notifier.info({ ...CONTEXT, auth_token: 'secret' }, 'interop.test', { n })
  expect(lastOf(port)).toEqual(expected(vector('notification', text), true))
})

test('every captured message is understood', () => {
  for (const one of VECTORS) {
    const { payload } = decode({ content: Buffer.from(one.body), properties: propertiesOf(one) })
    expect(typeof payload['_unique_id']).toBe('string')
  }
})
