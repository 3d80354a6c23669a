import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Calls, patienceMs } from '../../../src/mysql/calls.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'performance'] }))
afterEach(() => void vi.useRealTimers())

test('silence is told of the youngest call that lasts for so long, and again while it lasts', async () => {
  const told: number[] = []
  const calls = new Calls(250, (since) => told.push(since))
  const begin = performance.now()
  calls.start()
  await vi.advanceTimersByTimeAsync(200)
  const second = calls.start()
  expect(told).toEqual([])
  await vi.advanceTimersByTimeAsync(150)
  expect(told.length).toBeGreaterThan(1)
  expect(new Set(told)).toEqual(new Set([begin]))
  await vi.advanceTimersByTimeAsync(200)
  expect(told.at(-1)).toBe(begin + 200)
  calls.end(second, false)
  await vi.advanceTimersByTimeAsync(100)
  expect(told.at(-1)).toBe(begin)
  expect([calls.count, calls.answeredAt]).toEqual([1, 0])
  calls.close()
})

test('a call is given more time, the longer it is known to be slow', () => {
  expect(patienceMs(1000, 1000, 250)).toBe(250)
  expect(patienceMs(1000, 1400, 250)).toBe(250)
  expect(patienceMs(1000, 61_000, 250)).toBe(30_000)
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
