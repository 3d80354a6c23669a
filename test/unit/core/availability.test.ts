import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Availability } from '../../../src/core/availability.js'
import type { FailoverEvent } from '../../../src/core/events.js'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

const failover = (n: number): FailoverEvent => ({
  from: `h${String(n)}:1`,
  to: undefined,
  cause: undefined,
  detectedMs: 1,
  elapsedMs: 2,
})

describe('Availability', () => {
  test('counts no outage before the first usable host', () => {
    const availability = new Availability()
    vi.advanceTimersByTime(5000)
    expect(availability.down()).toBe(false)
    expect(availability.snapshot()).toMatchObject({ outageCount: 0, outageMs: 0, isOut: false, availability: 0 })
    vi.advanceTimersByTime(5000)
    expect(availability.up()).toBeUndefined()
    expect(availability.snapshot()).toMatchObject({ availability: 1, outageMs: 0 })
  })

  test('measures an outage from its first report to its end, and counts it once', () => {
    const availability = new Availability()
    availability.up()
    vi.advanceTimersByTime(900)
    expect(availability.down()).toBe(true)
    vi.advanceTimersByTime(60)
    expect(availability.down()).toBe(false)
    vi.advanceTimersByTime(40)
    expect(availability.snapshot()).toMatchObject({ isOut: true, outageMs: 100, outageCount: 1, availability: 0.9 })
    expect(availability.up()).toBe(100)
    expect(availability.up()).toBeUndefined()
    vi.advanceTimersByTime(1000)
    expect(availability.snapshot()).toMatchObject({ isOut: false, outageMs: 100, outageCount: 1, availability: 0.95 })
  })

  test('keeps the latest 20 failovers and the count of all, in frozen snapshots', () => {
    const availability = new Availability()
    for (let n = 1; n <= 25; n += 1) availability.failover(failover(n))
    const snapshot = availability.snapshot()
    expect(snapshot.failoverCount).toBe(25)
    expect(snapshot.failovers.map(({ from }) => from)).toEqual(
      Array.from({ length: 20 }, (_, i) => `h${String(i + 6)}:1`),
    )
    expect(Object.isFrozen(snapshot)).toBe(true)
    expect(Object.isFrozen(snapshot.failovers)).toBe(true)
    availability.failover(failover(26))
    expect(snapshot.failoverCount).toBe(25)
  })
})
