import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Deadlines, type Expiring } from '../../../src/core/deadlines.js'

/** Notes when it expired. */
class Watched implements Expiring {
  readonly at: number[] = []

  onExpired(): void {
    this.at.push(performance.now())
  }
}

describe('shared deadlines', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('end each limit no sooner than asked and at most 2 % or 32 ms later', () => {
    for (const limitMs of [1, 20, 77, 1000, 5000, 30_000, 900_000]) {
      const deadlines = new Deadlines()
      const watched = new Watched()
      const begin = performance.now()
      deadlines.add(limitMs, watched)
      vi.advanceTimersByTime(limitMs + 40)
      const tookMs = (watched.at[0] ?? Infinity) - begin
      expect(tookMs).toBeGreaterThanOrEqual(limitMs)
      expect(tookMs).toBeLessThanOrEqual(limitMs + Math.max(2, Math.min(33, limitMs * 0.02)))
    }
  })

  test('end only what was not cleared, each once, with one timer', () => {
    const deadlines = new Deadlines()
    const all = Array.from({ length: 100 }, () => new Watched())
    const running = all.map((watched) => {
      vi.advanceTimersByTime(1)
      return deadlines.add(1000, watched)
    })
    expect(vi.getTimerCount()).toBe(1)
    running.forEach((deadline, i) => {
      if (i % 2 === 0) deadline.clear()
    })
    vi.advanceTimersByTime(5000)
    expect(all.map(({ at }) => at.length)).toEqual(all.map((_, i) => (i % 2 === 0 ? 0 : 1)))
    for (const deadline of running) deadline.clear()
  })

  test('keep few timers for limits that are all different', () => {
    const deadlines = new Deadlines()
    for (let limitMs = 1; limitMs < 1_000_000; limitMs += 50) deadlines.add(limitMs, new Watched()).clear()
    expect(vi.getTimerCount()).toBeLessThan(300)
  })

  test('serve a limit that begins while another one ends', () => {
    const deadlines = new Deadlines()
    const second = new Watched()
    deadlines.add(100, { onExpired: () => void deadlines.add(100, second) })
    vi.advanceTimersByTime(150)
    expect(second.at).toEqual([])
    vi.advanceTimersByTime(100)
    expect(second.at).toHaveLength(1)
  })
})

describe('shared deadlines during a stall of our own event loop', () => {
  test('give back once what the stall took away', async () => {
    const deadlines = new Deadlines()
    const begin = performance.now()
    const expired = new Promise<number>((resolve) => {
      deadlines.add(100, { onExpired: () => resolve(performance.now() - begin) })
    })
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
    const tookMs = await expired
    expect(tookMs).toBeGreaterThanOrEqual(590)
    expect(tookMs).toBeLessThan(800)
  })

  test('do not end what is cleared in the poll phase after it', async () => {
    const deadlines = new Deadlines()
    const watched = new Watched()
    const deadline = deadlines.add(100, watched)
    // Immediates run after the poll phase, as what arrived in a socket does.
    setImmediate(() => deadline.clear())
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
    await new Promise((resolve) => setTimeout(resolve, 250))
    expect(watched.at).toEqual([])
  })
})
