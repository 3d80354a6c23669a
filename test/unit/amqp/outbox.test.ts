import { describe, expect, test } from 'vitest'
import { BackpressureError } from '../../../src/amqp/errors.js'
import { Outbox } from '../../../src/amqp/outbox.js'

const entry = (name: string, bytes = 10): { name: string; bytes: number; isSettled: boolean } => ({
  name,
  bytes,
  isSettled: false,
})

describe('the outbox', () => {
  test('refuses a message beyond its count', () => {
    const outbox = new Outbox(1, 1000)
    outbox.add(entry('a'))
    expect(() => outbox.checkRoom(1)).toThrow(BackpressureError)
  })

  test('refuses a message beyond its bytes, and says how full it is', () => {
    const outbox = new Outbox(10, 15)
    outbox.add(entry('a'))
    expect(() => outbox.checkRoom(6)).toThrow(
      expect.objectContaining({
        code: 'HA_BACKPRESSURE',
        safeToRetry: true,
        message: 'outbox is full (1 messages, 10 bytes)',
      }) as Error,
    )
    expect(() => outbox.checkRoom(5)).not.toThrow()
  })

  test('counts what was taken until it is released', () => {
    const outbox = new Outbox(1, 1000)
    const a = entry('a')
    outbox.add(a)
    expect(outbox.take()).toBe(a)
    expect(() => outbox.checkRoom(1)).toThrow(BackpressureError)
    outbox.release(a)
    expect(outbox).toMatchObject({ messages: 0, bytes: 0 })
  })

  test('puts what comes back in front, in its order, and drops what was settled meanwhile', () => {
    const outbox = new Outbox(10, 1000)
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => entry(name)) as [
      ReturnType<typeof entry>,
      ReturnType<typeof entry>,
      ReturnType<typeof entry>,
      ReturnType<typeof entry>,
    ]
    for (const each of [a, b, c, d]) outbox.add(each)
    outbox.take()
    outbox.take()
    outbox.take()
    b.isSettled = true
    outbox.putBack([a, b, c])
    expect([outbox.take(), outbox.take(), outbox.take(), outbox.take()]).toEqual([a, c, d, undefined])
    expect(outbox.messages).toBe(3)
  })

  test('tells when it is empty', async () => {
    const outbox = new Outbox(10, 1000)
    await outbox.empty()
    const a = entry('a')
    outbox.add(a)
    const empty = outbox.empty()
    outbox.release(a)
    await empty
  })
})
