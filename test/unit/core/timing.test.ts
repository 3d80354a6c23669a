import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Deferred, sleep } from '../../../src/core/timing.js'
import { useFakeTime } from './fake-time.js'

beforeEach(useFakeTime)

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

describe('sleep()', () => {
  test('resolves after its time and leaves no listener', async () => {
    const { signal } = new AbortController()
    const remove = vi.spyOn(signal, 'removeEventListener')
    const onEnd = vi.fn()
    void sleep(100, signal).then(onEnd)
    await vi.advanceTimersByTimeAsync(99)
    expect(onEnd).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    expect(onEnd).toHaveBeenCalledTimes(1)
    expect(remove).toHaveBeenCalledTimes(1)
  })

  test('rejects with the reason of its signal, before and during the wait', async () => {
    const reason = new Error('enough')
    await expect(sleep(100, AbortSignal.abort(reason))).rejects.toBe(reason)
    const controller = new AbortController()
    const waiting = expect(sleep(100, controller.signal)).rejects.toBe(reason)
    controller.abort(reason)
    await waiting
  })
})

describe('Deferred', () => {
  test('settles once and knows that it has', async () => {
    const deferred = new Deferred<number>()
    expect(deferred.settled).toBe(false)
    deferred.resolve(1)
    deferred.reject(new Error('too late'))
    expect(deferred.settled).toBe(true)
    await expect(deferred.promise).resolves.toBe(1)
  })
})
