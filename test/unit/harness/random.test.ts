import { expect, it } from 'vitest'
import { cachedValue, writeNumber } from '../../harness/cached-value.js'
import { Random } from '../../harness/random.js'

it('repeats itself with the same seed', () => {
  const [a, b] = [new Random(7), new Random(7)]
  expect(Array.from({ length: 5 }, () => a.next())).toEqual(Array.from({ length: 5 }, () => b.next()))
  expect(new Random(8).next()).not.toBe(new Random(7).next())
})

it('stays within its bounds', () => {
  const random = new Random(1)
  const numbers = Array.from({ length: 1000 }, () => random.between(2, 4))
  expect(Math.min(...numbers)).toBeGreaterThanOrEqual(2)
  expect(Math.max(...numbers)).toBeLessThan(4)
  expect(() => random.pick([])).toThrow('nothing')
})

it('tells a value of one key from that of another', () => {
  expect(writeNumber('a:1', cachedValue('a:1', 12))).toBe(12)
  expect(writeNumber('a:2', cachedValue('a:1', 12))).toBeUndefined()
  expect(writeNumber('a:1', 'a:1=12')).toBeUndefined()
})
