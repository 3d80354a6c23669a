import { describe, expect, test } from 'vitest'
import { BackpressureError } from '../../../src/amqp/errors.js'
import { Outbox, type Held } from '../../../src/amqp/outbox.js'

interface Item extends Held<Item> {
  readonly name: string
  isSettled: boolean
}

const entry = (name: string, bytes = 10): Item => ({
  name,
  bytes,
  isSettled: false,
  refusal: undefined,
  held: undefined,
  queued: undefined,
})
const noRoom = new BackpressureError(1, 1)

describe('the outbox', () => {
  test('refuses a message beyond its count', () => {
    const outbox = new Outbox<Item>(1, 1000)
    outbox.add(entry('a'))
    expect(outbox.refusal(1)).toBeInstanceOf(BackpressureError)
  })

  test('refuses a message beyond its bytes, and says how full it is and why', () => {
    const outbox = new Outbox<Item>(10, 15)
    outbox.add(entry('a'))
    expect(outbox.refusal(6, () => new Error('no host'))).toMatchObject({
      code: 'HA_BACKPRESSURE',
      safeToRetry: true,
      message: 'outbox is full (1 messages, 10 bytes)',
      cause: { message: 'no host' },
    })
    expect(outbox.refusal(5)).toBeUndefined()
  })

  test('lets in those who wait for room, in order, as far as they fit, and nobody before them', () => {
    let admissions = 0
    const outbox = new Outbox<Item>(2, 100, () => {
      admissions += 1
    })
    const [a, b, c, d, e] = [entry('a'), entry('b'), entry('c', 95), entry('d', 5), entry('e', 5)] as const
    outbox.add(a)
    outbox.add(b)
    for (const each of [c, d, e]) outbox.wait(each, noRoom)
    expect(outbox).toMatchObject({ messages: 2, bytes: 20, waiting: 3 })
    expect(c.refusal).toBe(noRoom)
    // There is room for d, but c comes before it; and for a message of 1, but all who wait come before it.
    outbox.release(a)
    expect(outbox).toMatchObject({ messages: 1, waiting: 3 })
    expect(outbox.refusal(1)).toBeInstanceOf(BackpressureError)
    outbox.release(b)
    expect(outbox).toMatchObject({ messages: 2, bytes: 100, waiting: 1 })
    expect(c.refusal).toBeUndefined()
    expect([outbox.take(), outbox.take(), outbox.take()]).toEqual([c, d, undefined])
    expect(admissions).toBe(1)
    expect(outbox.all()).toEqual([c, d, e])
  })

  test('lets in the next one when the one before it gives up waiting', () => {
    const outbox = new Outbox<Item>(10, 100)
    const [a, b, c] = [entry('a', 50), entry('b', 60), entry('c', 50)] as const
    outbox.add(a)
    outbox.wait(b, noRoom)
    outbox.wait(c, noRoom)
    outbox.release(b)
    expect(outbox).toMatchObject({ messages: 2, bytes: 100, waiting: 0 })
  })

  test('bounds those who wait by the same numbers', () => {
    const outbox = new Outbox<Item>(2, 100)
    outbox.wait(entry('a', 90), noRoom)
    expect([outbox.mayWait(10), outbox.mayWait(11)]).toEqual([true, false])
    outbox.wait(entry('b', 1), noRoom)
    expect(outbox.mayWait(1)).toBe(false)
  })

  test('counts what was taken until it is released', () => {
    const outbox = new Outbox<Item>(1, 1000)
    const a = entry('a')
    outbox.add(a)
    expect(outbox.take()).toBe(a)
    expect(outbox.refusal(1)).toBeInstanceOf(BackpressureError)
    outbox.release(a)
    expect(outbox).toMatchObject({ messages: 0, bytes: 0 })
  })

  test('puts what comes back in front, in its order, and drops what was settled meanwhile', () => {
    const outbox = new Outbox<Item>(10, 1000)
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => entry(name)) as [Item, Item, Item, Item]
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
    const outbox = new Outbox<Item>(10, 1000)
    await outbox.empty()
    const a = entry('a')
    outbox.add(a)
    const empty = outbox.empty()
    outbox.release(a)
    await empty
  })
})
