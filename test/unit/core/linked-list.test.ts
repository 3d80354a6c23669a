import { describe, expect, test } from 'vitest'
import { LinkedList } from '../../../src/core/linked-list.js'

describe('a linked list', () => {
  test('keeps the order, in front and behind', () => {
    const list = new LinkedList<string>()
    list.push('b')
    list.push('c')
    list.unshift('a')
    expect(list.values()).toEqual(['a', 'b', 'c'])
    expect([list.first, list.size]).toEqual(['a', 3])
    expect([list.shift(), list.shift(), list.shift(), list.shift()]).toEqual(['a', 'b', 'c', undefined])
  })

  test('takes out of the middle, once', () => {
    const list = new LinkedList<string>()
    const [a, b, c] = ['a', 'b', 'c'].map((value) => list.push(value))
    expect(b !== undefined && list.remove(b)).toBe(true)
    expect(b !== undefined && list.remove(b)).toBe(false)
    expect(list.values()).toEqual(['a', 'c'])
    if (a !== undefined) list.remove(a)
    if (c !== undefined) list.remove(c)
    expect([list.size, list.first]).toEqual([0, undefined])
    list.push('d')
    expect(list.values()).toEqual(['d'])
  })

  test('leaves the places of other lists alone', () => {
    const [one, other] = [new LinkedList<string>(), new LinkedList<string>()]
    const place = one.push('a')
    expect(other.remove(place)).toBe(false)
    expect(one.size).toBe(1)
  })
})
