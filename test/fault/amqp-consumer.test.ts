import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createTransport, type AmqpTransport, type MessageHandler } from '../../src/amqp/index.js'
import { Deferred } from '../../src/core/timing.js'
import { FakeAmqp } from '../helpers/fake-amqp.js'
import { FakeQueue } from '../helpers/fake-queue.js'

const POLL = { timeout: 10_000 }
let queue: FakeQueue
let broker: FakeAmqp
let transport: AmqpTransport

beforeEach(async () => {
  queue = new FakeQueue()
  broker = await FakeAmqp.listen(queue.behaviour)
  transport = createTransport({ hosts: [broker.address], env: {}, retryIntervalMs: 20 })
})
afterEach(async () => {
  transport.destroy()
  await broker.close()
})

async function resubscribed(count: number): Promise<void> {
  await expect.poll(() => queue.consumers.length, POLL).toBe(count)
}

describe('a message that is delivered again on the next connection', () => {
  test('while its first copy is being handled, is acknowledged once, there, and handled once', async () => {
    const gate = new Deferred<void>()
    const handler = vi.fn<MessageHandler>(() => gate.promise)
    const consumer = await transport.consume({ queue: 'q' }, handler)
    queue.deliver(queue.last, 1, 'm')
    await expect.poll(() => consumer.status().running, POLL).toBe(1)
    broker.reset()
    await resubscribed(2)
    queue.deliver(queue.last, 1, 'm', true)
    await expect.poll(() => consumer.status().delivered, POLL).toBe(2)
    gate.resolve()
    await expect.poll(() => queue.verdicts, POLL).toEqual([{ consumer: queue.last, verdict: 'ack', deliveryTag: 1 }])
    expect(handler).toHaveBeenCalledTimes(1)
    expect(consumer.status()).toMatchObject({ duplicates: 1, staleAcks: 1, acked: 1, running: 0 })
  })

  test('is another message when only its delivery tag is the same: a late acknowledgement is not given to it', async () => {
    const gates = [new Deferred<void>(), new Deferred<void>()]
    let started = 0
    const consumer = await transport.consume({ queue: 'q' }, () => gates[started++]?.promise)
    queue.deliver(queue.last, 1, 'm')
    await expect.poll(() => started, POLL).toBe(1)
    broker.reset()
    await resubscribed(2)
    queue.deliver(queue.last, 1, 'other')
    await expect.poll(() => started, POLL).toBe(2)
    gates[0]?.resolve()
    await expect.poll(() => consumer.status().staleAcks, POLL).toBe(1)
    expect(queue.verdicts).toEqual([])
    gates[1]?.resolve()
    await expect.poll(() => queue.verdicts.length, POLL).toBe(1)
  })
})

describe('a consumer that the broker cancels', () => {
  test('subscribes again on the same connection, and its handlers learn that their messages are gone', async () => {
    const reasons: unknown[] = []
    const consumer = await transport.consume(
      { queue: 'q' },
      ({ signal }) =>
        new Promise((_, reject) =>
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason)
            reject(signal.reason as Error)
          }),
        ),
    )
    const { connectionCount } = broker
    queue.deliver(queue.last, 1, 'm')
    await expect.poll(() => consumer.status().running, POLL).toBe(1)
    queue.cancel(queue.last)
    await resubscribed(2)
    await expect.poll(() => reasons.length, POLL).toBe(1)
    expect(broker.connectionCount).toBe(connectionCount)
    expect(queue.last.channel).not.toBe(queue.consumers[0]?.channel)
    queue.deliver(queue.last, 1, 'm', true)
    await expect.poll(() => consumer.status().running, POLL).toBe(1)
    expect(consumer.status()).toMatchObject({ state: 'active', staleAcks: 1, failed: 1 })
  })

  test('again and again, asks less and less often', async () => {
    await transport.consume({ queue: 'q' }, () => undefined)
    let last = queue.last
    const times: number[] = []
    for (let round = 1; round <= 5; round += 1) {
      const at = performance.now()
      queue.cancel(last)
      await resubscribed(round + 1)
      times.push(performance.now() - at)
      last = queue.last
    }
    expect(times[4]).toBeGreaterThan(200)
  })
})

describe('a channel that the broker closes', () => {
  test('during the declaration rejects the caller with the reply code, and harms no other consumer', async () => {
    const other = await transport.consume({ queue: 'other' }, () => undefined)
    const { connectionCount } = broker
    queue.refusesDeclare = [406, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q'"]
    await expect(transport.consume({ queue: 'q' }, () => undefined)).rejects.toMatchObject({ code: 406 })
    expect(broker.connectionCount).toBe(connectionCount)
    expect(other.status().state).toBe('active')
  })

  test('for a queue of another kind, later, is reported once and tried again', async () => {
    const reports: unknown[] = []
    transport.on('topologyError', (event) => reports.push(event))
    const consumer = await transport.consume({ queue: 'q' }, () => undefined)
    queue.refusesConsume = [404, "NOT_FOUND - no queue 'q' in vhost '/'"]
    queue.refusesDeclare = [406, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q'"]
    queue.cancel(queue.last)
    await expect.poll(() => queue.declareCount, POLL).toBe(3)
    expect(reports).toMatchObject([{ host: broker.address, what: "consumer of queue 'q'", error: { code: 406 } }])
    expect(consumer.status()).toMatchObject({ state: 'waiting', lastError: { code: 406 } })
    queue.refusesConsume = undefined
    queue.refusesDeclare = undefined
    await expect.poll(() => consumer.status().state, POLL).toBe('active')
  })

  test('is replaced alone when its queue is locked for a while', async () => {
    queue.refusesDeclare = [405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q'"]
    const consuming = transport.consume({ queue: 'q', type: 'exclusive' }, () => undefined)
    await expect.poll(() => queue.declareCount, POLL).toBeGreaterThan(1)
    queue.refusesDeclare = undefined
    expect((await consuming).queue).toBe('q')
  })
})

describe('close()', () => {
  test('gives back what is delivered after the consumer was cancelled', async () => {
    const handler = vi.fn<MessageHandler>()
    const consumer = await transport.consume({ queue: 'q' }, handler)
    queue.onCancel = (one) => queue.deliver(one, 1, 'late')
    await consumer.close()
    expect(handler).not.toHaveBeenCalled()
    expect(queue.verdicts).toMatchObject([{ verdict: 'requeue', deliveryTag: 1 }])
    expect(consumer.status()).toMatchObject({ state: 'closed', running: 0 })
  })

  test('at its limit tells the handlers that still run, and what they do then is not acknowledged', async () => {
    const gate = new Deferred<void>()
    let signal: AbortSignal | undefined
    const consumer = await transport.consume({ queue: 'q' }, (message) => {
      signal = message.signal
      return gate.promise
    })
    queue.deliver(queue.last, 1, 'm')
    await expect.poll(() => consumer.status().running, POLL).toBe(1)
    const startedAt = performance.now()
    await consumer.close({ timeoutMs: 100 })
    expect(performance.now() - startedAt).toBeLessThan(1000)
    expect(signal).toMatchObject({ aborted: true, reason: { code: 'HA_CLOSED' } })
    gate.resolve()
    await expect.poll(() => consumer.status().running, POLL).toBe(0)
    expect(queue.verdicts).toEqual([])
    expect(consumer.status().staleAcks).toBe(1)
  })
})
