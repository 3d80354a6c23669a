import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Channel } from '../../../src/amqp/channel.js'
import { StubChannel } from '../../helpers/stub-amqp.js'

function setUp(messages: number) {
  let gathered = 0
  const channel = new Channel(new StubChannel(), 'h1:5672', () => (gathered += 1))
  for (let i = 0; i < messages; i += 1) channel.delivered()
  const done: boolean[] = []
  let ran = 0
  const settleLate = (): void =>
    channel.settleLate(
      () => (ran += 1),
      (isDone) => done.push(isDone),
    )
  return { channel, done, settleLate, ran: () => ran, gathered: () => gathered }
}

describe('late verdicts', () => {
  test('are given together, after a few milliseconds', async () => {
    const { channel, done, settleLate, ran } = setUp(3)
    for (let i = 0; i < 3; i += 1) settleLate()
    expect([ran(), channel.isSettled]).toEqual([0, false])
    await channel.settled()
    expect([ran(), done]).toEqual([3, [true, true, true]])
  })

  test('are given at once when there are many', () => {
    const { settleLate, ran } = setUp(64)
    for (let i = 0; i < 64; i += 1) settleLate()
    expect(ran()).toBe(64)
  })

  test('are given before the channel is closed', () => {
    const { channel, done, settleLate } = setUp(1)
    settleLate()
    channel.settleAll()
    expect(done).toEqual([true])
  })

  test('are told to be in vain when the channel has ended', () => {
    const { channel, done, settleLate, ran } = setUp(2)
    settleLate()
    channel.ending.come({ error: new Error('gone'), isRefusal: false })
    settleLate()
    expect([ran(), done]).toEqual([0, [false, false]])
  })
})

describe('verdicts', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] })
    vi.advanceTimersByTime(1000)
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('of which more are due, or that come in a row, are gathered', () => {
    const { channel, gathered } = setUp(2)
    channel.settle(() => undefined)
    expect(gathered()).toBe(1)
    channel.settle(() => undefined)
    expect(gathered()).toBe(2)
  })

  test('that come one by one are not', () => {
    const { channel, gathered } = setUp(1)
    channel.settle(() => undefined)
    channel.delivered()
    vi.advanceTimersByTime(1)
    channel.settle(() => undefined)
    expect(gathered()).toBe(0)
  })
})
