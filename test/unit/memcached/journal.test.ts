import { describe, expect, test } from 'vitest'
import { Fifo } from '../../../src/memcached/fifo.js'
import { Journal } from '../../../src/memcached/journal.js'

describe('Journal', () => {
  test('a key is kept once, until it is removed', () => {
    const journal = new Journal(1000)
    journal.add('a')
    journal.add('a')
    journal.add('b')
    expect(journal.first(10)).toEqual(['a', 'b'])
    expect(journal.first(1)).toEqual(['a'])
    journal.remove('a')
    journal.remove('a')
    expect(journal.first(10)).toEqual(['b'])
  })

  test('when it is full it forgets all keys, says so, and takes no more until it is cleared', () => {
    const journal = new Journal(1000)
    for (let i = 0; i < 100; i += 1) journal.add(`key-${i}`)
    expect({ size: journal.size, hasOverflowed: journal.hasOverflowed }).toEqual({ size: 0, hasOverflowed: true })
    journal.clear()
    journal.add('a')
    expect({ size: journal.size, hasOverflowed: journal.hasOverflowed }).toEqual({ size: 1, hasOverflowed: false })
  })

  test('keys that were removed make room', () => {
    const journal = new Journal(1000)
    for (let i = 0; i < 1000; i += 1) {
      journal.add(`key-${i}`)
      journal.remove(`key-${i}`)
    }
    expect(journal.hasOverflowed).toBe(false)
  })
})

describe('Fifo', () => {
  test('what goes in first comes out first, also after it has grown and wrapped around', () => {
    const fifo = new Fifo<number>()
    let next = 0
    let expected = 0
    for (let round = 1; round < 60; round += 1) {
      for (let i = 0; i < round * 3; i += 1) fifo.push(next++)
      for (let i = 0; i < round * 2; i += 1) expect(fifo.shift()).toBe(expected++)
    }
    expect(fifo.peek()).toBe(expected)
    expect(fifo.some((n) => n === next - 1)).toBe(true)
    expect(fifo.drain().length).toBe(next - expected)
    expect([fifo.length, fifo.shift(), fifo.peek()]).toEqual([0, undefined, undefined])
  })
})
