import fc from 'fast-check'
import { describe, test } from 'vitest'
import { backoffDelay, type Backoff } from '../../src/core/backoff.js'

const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const backoffs: fc.Arbitrary<Backoff> = fc.record({
  initialMs: fc.integer({ min: 0, max: 60_000 }),
  addMs: fc.integer({ min: 0, max: 60_000 }),
  factor: fc.constantFrom(1, 1.5, 2, 10),
  maxMs: fc.integer({ min: 0, max: 3_600_000 }),
})
const attempts = fc.integer({ min: 1, max: 100_000 })
const plain = (attempt: number, backoff: Backoff): number => backoffDelay(attempt, backoff, () => 1)

describe('backoffDelay()', () => {
  test('never exceeds the cap and is never below half of the plain delay', () => {
    fc.assert(
      fc.property(attempts, backoffs, unit, (attempt, backoff, random) => {
        const delay = backoffDelay(attempt, backoff, () => random)
        return delay <= backoff.maxMs && delay >= plain(attempt, backoff) / 2
      }),
    )
  })

  test('never shrinks from one attempt to the next, jitter aside', () => {
    fc.assert(
      fc.property(attempts, backoffs, (attempt, backoff) => plain(attempt + 1, backoff) >= plain(attempt, backoff)),
    )
  })

  test('without a factor grows by addMs per attempt until the cap', () => {
    fc.assert(
      fc.property(attempts, backoffs, (attempt, { initialMs, addMs = 0, maxMs }) => {
        const expected = Math.min(maxMs, initialMs + addMs * (attempt - 1))
        return Math.abs(plain(attempt, { initialMs, addMs, maxMs }) - expected) < 0.001
      }),
    )
  })
})
