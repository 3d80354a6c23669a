import { expect, test } from 'vitest'
import { FakePort, RejectedError, type Incoming } from '../../../helpers/fake-port.js'
import { propertiesOf, VECTORS } from './vectors.js'

const COUNT = 100_000
const VALUES: readonly unknown[] = [null, true, 0, -1, 2 ** 53, 1e300, '', 'x', [], {}, [[]], { a: null }]
const RAW = [
  'NaN',
  '-Infinity',
  '18446744073709551617',
  '"',
  '\\',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '\u0000',
  '1e999',
  '__proto__',
]

/** A reproducible sequence of numbers below `max` (mulberry32). */
function generator(seed: number): (max: number) => number {
  let state = seed
  return (max) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % max
  }
}

/** Breaks a message somewhere: in its bytes, its fields, its envelope or its properties. */
function mutate({ content, properties }: Incoming, random: (max: number) => number): Incoming {
  const one = (list: readonly unknown[]): unknown => list[random(list.length)]
  const text = content.toString()
  const at = random(text.length)
  switch (random(6)) {
    case 0: {
      const bytes = Buffer.from(content)
      for (let flips = random(4); flips >= 0; flips -= 1) bytes[random(bytes.length)] = random(256)
      return { content: bytes, properties }
    }
    case 1:
      return { content: content.subarray(0, at), properties }
    case 2:
      return { content: Buffer.from(text.slice(0, at) + String(one(RAW)) + text.slice(at + random(3))), properties }
    case 3:
      return { content: mutateFields(text, one, random), properties }
    case 4: {
      const names = ['contentType', 'contentEncoding', 'headers', 'messageId', 'priority', 'expiration']
      return { content, properties: { ...properties, [String(one(names))]: one(VALUES) } }
    }
    default: {
      const compression = one(['application/x-gzip', 'application/x-bz2', 'brotli', 5, null, {}, 'x'.repeat(300)])
      return { content, properties: { ...properties, headers: { compression } } }
    }
  }
}

function mutateFields(
  text: string,
  one: (list: readonly unknown[]) => unknown,
  random: (max: number) => number,
): Buffer {
  const outer = JSON.parse(text) as Record<string, unknown>
  const inner = outer['oslo.message']
  const fields = typeof inner === 'string' ? (JSON.parse(inner) as Record<string, unknown>) : outer
  for (let count = random(3); count >= 0; count -= 1) {
    const key = String(one([...Object.keys(fields), 'namespace', 'ending', 'failure', '_context_', '__proto__']))
    if (random(3) === 0) Reflect.deleteProperty(fields, key)
    else fields[key] = one(VALUES)
  }
  return Buffer.from(
    JSON.stringify(typeof inner === 'string' ? { ...outer, 'oslo.message': JSON.stringify(fields) } : fields),
  )
}

test(`${String(COUNT)} broken messages are each rejected or answered, by a server, a client and a listener`, async () => {
  const port = new FakePort({ missingConsumerRetryTimeoutMs: 0 })
  const server = await port.messaging.rpcServer(
    { topic: 'interop', server: 'py1', version: '1.5' },
    { echo: (_: unknown, args: { value?: unknown }) => args.value, slow: () => 'slept 5', note: () => undefined },
    {},
  )
  const listener = await port.messaging.notificationListener(
    [{ topic: 'notifications' }],
    { info: () => undefined, warn: () => undefined },
    {},
  )
  const client = port.messaging.rpcClient({ topic: 'interop' }, {})
  const random = generator(20_261_128)
  const waiting = new Map<string, Promise<unknown>>()
  const outcomes = { resolved: 0, rejected: 0 }
  const nextCall = async (): Promise<string> => {
    port.letters.length = 0
    const call = client.call({}, 'echo', {}, { timeoutMs: 600_000 })
    const settled = call.then(
      () => (outcomes.resolved += 1),
      () => (outcomes.rejected += 1),
    )
    while (port.letters.length === 0) await Promise.resolve()
    const id = /_msg_id\\": \\"([\da-f]{32})/.exec(String(port.letters[0]?.content))?.[1] ?? ''
    waiting.set(id, settled)
    return id
  }
  let callId = await nextCall()
  let rejected = 0
  for (let count = 0; count < COUNT; count += 1) {
    const vector = VECTORS[random(VECTORS.length)] as (typeof VECTORS)[number]
    // The identifiers change: otherwise the server would take all but the first for copies.
    const body = vector.body.replace(/(_unique_id\\*": \\*")[\da-f]{8}/, `$1${count.toString(16).padStart(8, '0')}`)
    const isReply = vector.routing_key.startsWith('reply_')
    const own = isReply ? body.replace(/(_msg_id\\": \\")[\da-f]{32}/, `$1${callId}`) : body
    const message = mutate({ content: Buffer.from(own), properties: propertiesOf(vector) }, random)
    const queue = isReply ? 'reply' : vector.exchange === 'interop_fanout' ? 'interop_fanout' : vector.routing_key
    try {
      await port.deliver(queue, message)
    } catch (error) {
      expect(error).toBeInstanceOf(RejectedError)
      rejected += 1
    }
    if (count % 50 === 0) callId = await nextCall()
    if (port.letters.length > 1000) port.letters.length = 0
  }
  port.messaging.close(new Error('over'))
  await Promise.all(waiting.values())
  const { handled, malformed, running } = server.status()
  expect(running).toBe(0)
  expect(handled).toBeGreaterThan(1000)
  expect(malformed).toBeGreaterThan(1000)
  expect(listener.status().handled).toBeGreaterThan(1000)
  expect(listener.status().malformed).toBeGreaterThan(1000)
  expect(malformed + listener.status().malformed).toBe(rejected)
  expect(outcomes.resolved + outcomes.rejected).toBe(waiting.size)
  expect(Math.min(outcomes.resolved, outcomes.rejected)).toBeGreaterThan(100)
}, 120_000)
