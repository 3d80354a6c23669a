import { expect, test } from 'vitest'
import { FakePort, RejectedError } from '../../../helpers/fake-port.js'
import { propertiesOf, VECTORS } from './vectors.js'

const [CALL] = VECTORS
const MESSAGE = { content: Buffer.from(CALL?.body ?? ''), properties: propertiesOf(CALL as (typeof VECTORS)[number]) }
const REPLY_QUEUE = 'reply_9fdbefa09bb04f5fb69bfca8c898880d'

test('a copy of a request is not run, but answered again: the first reply may be out of reach', async () => {
  const port = new FakePort()
  let executed = 0
  const echo = (): number => (executed += 1)
  const server = await port.messaging.rpcServer({ topic: 'interop', server: 'n' }, { echo }, {})
  await Promise.all([port.deliver('interop', MESSAGE), port.deliver('interop', MESSAGE)])
  await port.deliver('interop', MESSAGE)
  await expect.poll(() => port.sentTo(REPLY_QUEUE).length).toBe(3)
  expect(executed).toBe(1)
  expect(server.status()).toMatchObject({ handled: 1, duplicates: 2 })
  for (const { content } of port.letters) expect(content.toString()).toContain('\\"result\\": 1,')
})

test('a reply queue that stays away is given up, and left alone for a while', async () => {
  const port = new FakePort({ missingConsumerRetryTimeoutMs: 600 })
  port.missing.add(REPLY_QUEUE)
  const server = await port.messaging.rpcServer({ topic: 'interop', server: 'n' }, { echo: () => 1 }, {})
  await port.deliver('interop', MESSAGE)
  await server.close()
  const attempts = port.sentTo(REPLY_QUEUE).length
  expect(attempts).toBeGreaterThan(1)
  await port.deliver('interop', MESSAGE)
  expect(port.sentTo(REPLY_QUEUE)).toHaveLength(attempts)
})

test('no more requests run at a time than allowed', async () => {
  const port = new FakePort()
  let [running, most] = [0, 0]
  const echo = async (): Promise<void> => {
    running += 1
    most = Math.max(most, running)
    await new Promise((resolve) => setImmediate(resolve))
    running -= 1
  }
  await port.messaging.rpcServer({ topic: 'interop', server: 'n' }, { echo }, { concurrency: 3 })
  const requests = Array.from({ length: 20 }, (_, index) => {
    const body = (CALL?.body ?? '').replace(
      /(_unique_id\\": \\")[\da-f]{8}/,
      `$1${index.toString(16).padStart(8, '0')}`,
    )
    return port.deliver('interop', { ...MESSAGE, content: Buffer.from(body) })
  })
  await Promise.all(requests)
  expect(most).toBe(3)
  expect(port.sentTo(REPLY_QUEUE)).toHaveLength(20)
})

test.each(['before', 'after'] as const)(
  'what is no request is rejected and counted, where requests are acknowledged %s',
  async (acknowledge) => {
    const port = new FakePort()
    const server = await port.messaging.rpcServer({ topic: 'interop', server: 'n' }, { echo: () => 1 }, { acknowledge })
    const broken = { ...MESSAGE, content: Buffer.from('no json') }
    expect(() => port.deliver('interop', broken)).toThrow(RejectedError)
    await port.deliver('interop', MESSAGE)
    expect(server.status()).toMatchObject({ malformed: 1, handled: 1 })
  },
)
