import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Fitness } from '../../../src/mysql/fitness.js'

const HOUR_MS = 3_600_000

describe('Fitness', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('of a node that never broke is as old as its server', () => {
    const fitness = new Fitness(30_000)
    expect(fitness.ageMs(HOUR_MS)).toBe(0)
    fitness.note(true)
    expect(fitness.ageMs(HOUR_MS)).toBe(HOUR_MS)
  })

  test('of a node that was frozen counts from its return, whatever its uptime says', () => {
    const fitness = new Fitness(30_000)
    fitness.note(true)
    fitness.note(false)
    fitness.note(true)
    vi.advanceTimersByTime(5000)
    expect(fitness.ageMs(HOUR_MS)).toBe(5000)
    expect(fitness.ageMs(2000)).toBe(2000)
  })

  test('after a first failure the plain delay is asked for, and twice as much with each relapse, to ten minutes', () => {
    const fitness = new Fitness(30_000)
    const fail = (): number => {
      fitness.note(false)
      fitness.note(true)
      return fitness.requiredAgeMs
    }
    fitness.note(true)
    expect([fail(), fail(), fail(), fail(), fail(), fail(), fail()]).toEqual([
      30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000,
    ])
  })

  test('relapses are forgotten after ten minutes without one', () => {
    const fitness = new Fitness(30_000)
    for (const isFit of [true, false, true, false, true]) fitness.note(isFit)
    expect(fitness.requiredAgeMs).toBe(60_000)
    vi.advanceTimersByTime(600_000)
    fitness.note(false)
    expect(fitness.requiredAgeMs).toBe(30_000)
  })
})
