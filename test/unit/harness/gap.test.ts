import { describe, expect, it } from 'vitest'
import { faultGap, longestGap, percentile } from '../../harness/gap.js'

const every = (ms: number, from: number, to: number): number[] =>
  Array.from({ length: Math.floor((to - from) / ms) + 1 }, (_, i) => from + i * ms)

describe('longestGap', () => {
  it('finds the longest pause within the window', () => {
    const times = [...every(10, 0, 1000), ...every(10, 1500, 3000), ...every(10, 3200, 5000)]
    expect(longestGap(times, { from: 900, to: 5000 })).toEqual({ ms: 500, atMs: 100, hasRecovered: true })
  })

  it('counts a pause from its last acknowledgement before the window', () => {
    const times = [...every(10, 0, 980), ...every(10, 1300, 3000)]
    expect(longestGap(times, { from: 1000, to: 3000 })).toEqual({ ms: 320, atMs: -20, hasRecovered: true })
  })

  it('does not look at pauses that are over before the window, or begin after it', () => {
    const times = [...every(10, 0, 100), ...every(10, 800, 2000), ...every(10, 2900, 4000)]
    expect(longestGap(times, { from: 1000, to: 1900 }).ms).toBe(10)
  })

  it('says never when the window ends in silence', () => {
    const times = every(10, 0, 2000)
    expect(longestGap(times, { from: 1000, to: 8000 })).toEqual({ ms: 6000, atMs: 1000, hasRecovered: false })
  })

  it('says never for a series with nothing in it', () => {
    expect(longestGap([], { from: 100, to: 2100 })).toEqual({ ms: 2000, atMs: 0, hasRecovered: false })
  })

  it('is not fooled by a short revival before the end', () => {
    const times = [...every(10, 0, 1000), 4000, 4010]
    expect(longestGap(times, { from: 1000, to: 9000 }).hasRecovered).toBe(false)
  })

  it('counts a pause under way at the end as far as it has come', () => {
    expect(longestGap([0, 100, 200], { from: 50, to: 900 })).toEqual({ ms: 700, atMs: 150, hasRecovered: true })
  })

  it('leaves out the part in which the measuring process was busy', () => {
    const times = [...every(10, 0, 1000), ...every(10, 1200, 3000)]
    const window = { from: 500, to: 3000, without: { from: 1005, to: 1195 } }
    expect(longestGap(times, window)).toMatchObject({ ms: 10, hasRecovered: true })
    const later = [...every(10, 0, 1000), ...every(10, 1300, 3000)]
    expect(longestGap(later, window)).toEqual({ ms: 105, atMs: 695, hasRecovered: true })
  })

  it('excuses nothing by that when there was silence before', () => {
    const window = { from: 500, to: 5000, without: { from: 2500, to: 2600 } }
    const times = [...every(10, 0, 1000), ...every(10, 3000, 5000)]
    expect(longestGap(times, window)).toMatchObject({ ms: 2000, atMs: 500 })
  })

  it('takes a short silence at the end of a short window for an end', () => {
    expect(longestGap([], { from: 0, to: 500 }).hasRecovered).toBe(false)
  })
})

describe('percentile', () => {
  it('takes the value at the share', () => {
    const values = every(1, 1, 100)
    expect([percentile(values, 0), percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)]).toEqual([
      1, 51, 100, 100,
    ])
  })

  it('is 0 for nothing', () => expect(percentile([], 0.5)).toBe(0))
})

describe('faultGap', () => {
  const window = { from: 1000, to: 5000, struckAt: 1040 }

  it('is the silence that begins with the fault, and not a longer one later', () => {
    const times = [...every(10, 0, 1030), ...every(10, 1130, 3000), ...every(10, 3500, 5000)]
    expect(faultGap(times, window)).toEqual({ ms: 100, atMs: 30, hasRecovered: true })
  })

  it('is never over when the silence is not', () => {
    expect(faultGap(every(10, 0, 1050), window)).toEqual({ ms: 3950, atMs: 50, hasRecovered: false })
  })

  it('takes the distance of the answers where there is no silence', () => {
    expect(faultGap(every(10, 0, 5000), window).ms).toBe(10)
  })
})
