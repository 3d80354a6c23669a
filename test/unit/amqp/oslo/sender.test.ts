import { describe, expect, test } from 'vitest'
import type { Letter } from '../../../../src/amqp/entry.js'
import type { Declarer } from '../../../../src/amqp/oslo/declarer.js'
import type { TransportPort } from '../../../../src/amqp/oslo/port.js'
import { Sender, type Outgoing } from '../../../../src/amqp/oslo/sender.js'
import { topicExchange } from '../../../../src/amqp/oslo/queues.js'
import { resolveTransportOptions } from '../../../../src/amqp/options.js'

const { oslo: options } = resolveTransportOptions({ hosts: ['h1'], env: {} })

function setUp(declaring: Promise<void> = Promise.resolve()) {
  const published: Letter[] = []
  const counts = { declared: 0 }
  const port = {
    options,
    session: () => Promise.resolve({}),
    publish: (letter: Letter) => {
      published.push(letter)
      return Promise.resolve()
    },
  } as unknown as TransportPort
  const declarer = {
    exchange: () => {
      counts.declared += 1
      return declaring
    },
  } as unknown as Declarer
  return { sender: new Sender(port, declarer), published, counts }
}

const OUT: Outgoing = {
  to: { exchange: topicExchange(options, undefined) },
  routingKey: 'topic',
  payload: {},
  id: 'id',
  mandatory: true,
  isRepeatable: true,
}

describe('the sender', () => {
  test('declares once, for all who send at the same time and later', async () => {
    const { sender, published, counts } = setUp()
    await Promise.all([sender.send(OUT, { timeoutMs: 1000 }), sender.send(OUT, { timeoutMs: 1000 })])
    await sender.send(OUT, { timeoutMs: 1000 })
    expect([published.length, counts.declared]).toEqual([3, 1])
  })

  test('sends nothing for a caller who has left, also when everything is declared', async () => {
    const { sender, published } = setUp()
    await sender.send(OUT, { timeoutMs: 1000 })
    const signal = AbortSignal.abort(new Error('left'))
    await expect(sender.send(OUT, { timeoutMs: 1000, signal })).rejects.toThrow('left')
    expect(published.length).toBe(1)
  })

  test('waits for a declaration within the limit of each', async () => {
    const { sender } = setUp(new Promise(() => undefined))
    await expect(sender.send(OUT, { timeoutMs: 10 })).rejects.toMatchObject({ code: 'HA_TIMEOUT', safeToRetry: true })
  })
})
