import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Channel } from '../../../src/amqp/channel.js'
import { StallWatch } from '../../../src/amqp/stall-watch.js'
import { StubChannel } from '../../helpers/stub-amqp.js'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function setUp(readyCount: number) {
  const figures = { delivered: 0, held: 0 }
  const raw = new StubChannel()
  raw.readyCount = readyCount
  const onStalled = vi.fn()
  const watch = new StallWatch({
    queue: 'q',
    deliveredCount: () => figures.delivered,
    heldCount: () => figures.held,
    onStalled,
  })
  return { figures, raw, onStalled, watch, channel: new Channel(raw, 'h1:5672') }
}

describe('the watch over an idle consumer', () => {
  test('reports one beside messages that nobody delivers, within 20 s', async () => {
    const { watch, channel, onStalled } = setUp(3)
    watch.start(channel)
    await vi.advanceTimersByTimeAsync(20_000)
    expect(onStalled).toHaveBeenCalledTimes(1)
  })

  test('is content with an empty queue', async () => {
    const { watch, channel, onStalled } = setUp(0)
    watch.start(channel)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(onStalled).not.toHaveBeenCalled()
    watch.stop()
  })

  test.each(['delivered', 'held'] as const)('is content while messages are %s', async (figure) => {
    const { watch, channel, onStalled, figures } = setUp(3)
    watch.start(channel)
    for (let i = 0; i < 60; i += 1) {
      figures[figure] += 1
      await vi.advanceTimersByTimeAsync(1000)
    }
    expect(onStalled).not.toHaveBeenCalled()
    watch.stop()
  })

  test('becomes rarer when a new subscription gets nothing either', async () => {
    const { watch, channel, onStalled } = setUp(3)
    onStalled.mockImplementation(() => watch.start(channel))
    watch.start(channel)
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect(onStalled.mock.calls.length).toBeLessThan(15)
    watch.stop()
  })
})
