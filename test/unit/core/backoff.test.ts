import { describe, expect, test } from 'vitest'
import { backoffDelay } from '../../../src/core/backoff.js'

const most = (): number => 1
const least = (): number => 0

describe('backoffDelay()', () => {
  test('grows by the same amount per attempt, as oslo.messaging does, up to the cap', () => {
    const backoff = { initialMs: 1000, addMs: 2000, maxMs: 6000 }
    expect([1, 2, 3, 4, 5].map((attempt) => backoffDelay(attempt, backoff, most))).toEqual([
      1000, 3000, 5000, 6000, 6000,
    ])
  })

  test('multiplies per attempt when it has a factor', () => {
    const backoff = { initialMs: 250, factor: 2, maxMs: 5000 }
    expect([1, 2, 3, 6, 7].map((attempt) => backoffDelay(attempt, backoff, most))).toEqual([250, 500, 1000, 5000, 5000])
  })

  test('takes away half of the plain delay at most, so that a retry is never immediate', () => {
    expect(backoffDelay(1, { initialMs: 1000, maxMs: 5000 }, least)).toBe(500)
  })

  test('stays a number when the outage is so long that the factor overflows', () => {
    expect(backoffDelay(5000, { initialMs: 0, factor: 2, maxMs: 100 }, most)).toBe(0)
    expect(backoffDelay(5000, { initialMs: 1, factor: 2, maxMs: 100 }, most)).toBe(100)
  })
})
