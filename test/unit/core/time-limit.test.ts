import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { TimeLimit, waitWithin } from '../../../src/core/time-limit.js'
import { now } from '../../../src/core/timing.js'
import { useFakeTime } from './fake-time.js'

beforeEach(useFakeTime)

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

const never = (): Promise<never> => new Promise(() => undefined)
const onTimeout = (elapsedMs: number): Error => new Error(`late by ${String(Math.round(elapsedMs))}`)

describe('TimeLimit', () => {
  test('expires on time, once', async () => {
    const onExpired = vi.fn()
    new TimeLimit(100, onExpired)
    await vi.advanceTimersByTimeAsync(99)
    expect(onExpired).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(2)
    expect(onExpired).toHaveBeenCalledTimes(1)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(onExpired).toHaveBeenCalledTimes(1)
  })

  test('does not expire once it is cleared, not even between its timer and its judgement', async () => {
    const onExpired = vi.fn()
    new TimeLimit(100, onExpired).clear()
    const limit = new TimeLimit(100, onExpired)
    setTimeout(() => limit.clear(), 100)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(onExpired).not.toHaveBeenCalled()
    limit.clear()
  })

  test.each([
    ['a negative number', -5],
    ['NaN', Number.NaN],
    ['zero', 0],
  ])('expires at once for %s', async (_, limitMs) => {
    const onExpired = vi.fn()
    new TimeLimit(limitMs, onExpired)
    await vi.advanceTimersByTimeAsync(2)
    expect(onExpired).toHaveBeenCalledTimes(1)
  })

  test.each([
    ['Infinity', Infinity],
    ['more than a timer can hold', 2 ** 31],
  ])('does not expire at once for %s', async (_, limitMs) => {
    const onExpired = vi.fn()
    const limit = new TimeLimit(limitMs, onExpired)
    await vi.advanceTimersByTimeAsync(86_400_000)
    expect(onExpired).not.toHaveBeenCalled()
    limit.clear()
  })

  test('gives back what a stall took away, once and never more than the limit', async () => {
    const expiredAt = vi.fn(() => now())
    const begin = now()
    new TimeLimit(1000, expiredAt)
    // The event loop stalls: the clock jumps, and no timer runs before it has jumped.
    vi.advanceTimersByTime(500)
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => begin + 4000 + (Date.now() - at))
    const at = Date.now() + 500
    await vi.advanceTimersByTimeAsync(501)
    expect(expiredAt).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(900)
    expect(expiredAt).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(102)
    expect(expiredAt).toHaveBeenCalledTimes(1)
    clock.mockRestore()
  })
})

describe('waitWithin()', () => {
  test('gives the result of work that ends in time, and leaves no timer and no listener', async () => {
    const { signal } = new AbortController()
    const remove = vi.spyOn(signal, 'removeEventListener')
    await expect(waitWithin(Promise.resolve(7), { timeoutMs: 100, signal }, onTimeout)).resolves.toBe(7)
    expect(vi.getTimerCount()).toBe(0)
    expect(remove).toHaveBeenCalledWith('abort', expect.any(Function))
  })

  test('passes on the rejection of the work', async () => {
    const error = new Error('theirs')
    await expect(waitWithin(Promise.reject(error), { timeoutMs: 100 }, onTimeout)).rejects.toBe(error)
    await expect(waitWithin(Promise.reject(error), {}, onTimeout)).rejects.toBe(error)
  })

  test('rejects at its limit with the elapsed time, and tells the owner of the work', async () => {
    const onAbandoned = vi.fn()
    const waiting = expect(waitWithin(never(), { timeoutMs: 100 }, onTimeout, onAbandoned)).rejects.toThrow(
      /late by 10\d/,
    )
    await vi.advanceTimersByTimeAsync(102)
    await waiting
    expect(onAbandoned.mock.calls).toEqual([
      [expect.objectContaining({ message: expect.stringMatching(/late by 10\d/) as string })],
    ])
  })

  test('rejects at once with the reason of a signal that is already aborted', async () => {
    const reason = new Error('enough')
    const onAbandoned = vi.fn()
    const work = Promise.reject(new Error('nobody hears this'))
    await expect(
      waitWithin(work, { timeoutMs: 100, signal: AbortSignal.abort(reason) }, onTimeout, onAbandoned),
    ).rejects.toBe(reason)
    expect(onAbandoned.mock.calls).toEqual([[reason]])
  })

  test('rejects with the reason of a signal that is aborted while it waits', async () => {
    const controller = new AbortController()
    const onAbandoned = vi.fn()
    const waiting = expect(
      waitWithin(never(), { timeoutMs: 100, signal: controller.signal }, onTimeout, onAbandoned),
    ).rejects.toMatchObject({ name: 'AbortError', message: 'enough' })
    controller.abort('enough')
    await waiting
    expect(onAbandoned).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('swallows what happens to the work after the wait', async () => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    let fail: (error: Error) => void = () => undefined
    const work = new Promise<never>((_, reject) => {
      fail = reject
    })
    const waiting = expect(waitWithin(work, { timeoutMs: 10 }, onTimeout)).rejects.toThrow('late')
    await vi.advanceTimersByTimeAsync(12)
    await waiting
    fail(new Error('too late'))
    vi.useRealTimers()
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
    useFakeTime()
  })
})
