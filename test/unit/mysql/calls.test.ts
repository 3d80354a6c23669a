import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Calls } from '../../../src/mysql/calls.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'performance'] }))
afterEach(() => void vi.useRealTimers())

test('silence is told of the oldest call, once it lasts for so long and again while it lasts', async () => {
  const told: number[] = []
  const calls = new Calls(250, (since) => told.push(since))
  const begin = performance.now()
  const first = calls.start()
  await vi.advanceTimersByTimeAsync(240)
  calls.start()
  expect(told).toEqual([])
  await vi.advanceTimersByTimeAsync(100)
  expect(told.length).toBeGreaterThan(1)
  expect(new Set(told)).toEqual(new Set([begin]))
  calls.end(first, false)
  expect([calls.count, calls.answeredAt]).toEqual([1, 0])
  calls.close()
})

test('the last answer is remembered, whichever call it was for', async () => {
  const calls = new Calls(250, () => undefined)
  calls.start()
  const second = calls.start()
  await vi.advanceTimersByTimeAsync(100)
  calls.end(second, true)
  expect(calls.answeredAt).toBe(performance.now())
  calls.close()
})
