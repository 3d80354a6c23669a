import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InFlight } from '../../src/amqp/in-flight.js'

type Step = { readonly is: 'add' | 'take' | 'takeUpTo'; readonly back: number; readonly times: number }

const step: fc.Arbitrary<Step> = fc.record({
  is: fc.constantFrom('add', 'add', 'take', 'takeUpTo'),
  back: fc.nat({ max: 6000 }),
  times: fc.nat({ max: 5000 }),
})

/** The plainest thing that does the same. */
class Model {
  readonly entries = new Map<number, number>()
  next = 1

  take(tag: number): number | undefined {
    const entry = this.entries.get(tag)
    this.entries.delete(tag)
    return entry
  }

  takeUpTo(tag: number): number[] {
    const tags = [...this.entries.keys()].filter((each) => each <= tag)
    return tags.map((each) => this.take(each) as number)
  }
}

describe('what is in flight', () => {
  test('is found by its delivery tag, and taken in order, however far confirmations lag', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const [inFlight, model] = [new InFlight<number>(), new Model()]
        for (const { is, back, times } of steps) {
          const tag = Math.max(0, model.next - back)
          if (is === 'add') {
            for (let i = 0; i < times; i += 1) {
              inFlight.add(model.next)
              model.entries.set(model.next, model.next)
              model.next += 1
            }
          } else if (is === 'take') {
            for (let i = 0; i < times; i += 1) expect(inFlight.take(tag + i)).toBe(model.take(tag + i))
          } else {
            expect(inFlight.takeUpTo(tag)).toEqual(model.takeUpTo(tag))
          }
          expect(inFlight.size).toBe(model.entries.size)
          expect(inFlight.oldest).toBe(model.entries.keys().next().value)
        }
        expect(inFlight.takeUpTo(Infinity)).toEqual(model.takeUpTo(Infinity))
      }),
      { numRuns: 60 },
    )
  })

  test('keeps a message that others overtake by many turns', () => {
    const inFlight = new InFlight<number>()
    inFlight.add(1)
    for (let tag = 2; tag <= 30_000; tag += 1) {
      inFlight.add(tag)
      expect(inFlight.take(tag)).toBe(tag)
    }
    expect([inFlight.size, inFlight.oldest]).toEqual([1, 1])
    expect(inFlight.find((entry) => entry === 1)).toBe(1)
    expect([inFlight.take(1), inFlight.take(1), inFlight.size]).toEqual([1, undefined, 0])
  })

  test('knows nothing under tags that were never given out', () => {
    const inFlight = new InFlight<string>()
    inFlight.add('a')
    expect([inFlight.take(0), inFlight.take(2), inFlight.take(8193)]).toEqual([undefined, undefined, undefined])
    expect(inFlight.takeUpTo(99)).toEqual(['a'])
  })
})
