import { describe, expect, test, vi } from 'vitest'
import { Lifecycle, type StateChange } from '../../../src/core/lifecycle.js'

type Light = 'red' | 'green' | 'broken'
const moves = { red: ['green', 'broken'], green: ['red'], broken: [] } as const

describe('Lifecycle', () => {
  test('moves along its table and reports each move with its cause', () => {
    const changes: StateChange<Light>[] = []
    const light = new Lifecycle<Light>('red', moves, (change) => changes.push(change))
    const cause = new Error('fuse')
    light.enter('green')
    light.enter('red')
    light.enter('broken', cause)
    expect(changes).toEqual([
      { from: 'red', to: 'green', cause: undefined },
      { from: 'green', to: 'red', cause: undefined },
      { from: 'red', to: 'broken', cause },
    ])
    expect(light.state).toBe('broken')
    expect(light.cause).toBe(cause)
  })

  test('refuses a move that is not in the table and stays where it is', () => {
    const onChange = vi.fn()
    const light = new Lifecycle<Light>('green', moves, onChange)
    expect(light.canEnter('broken')).toBe(false)
    expect(() => light.enter('broken')).toThrow('bug: green -> broken')
    expect(light.state).toBe('green')
    expect(onChange).not.toHaveBeenCalled()
  })

  test('forgets the cause of a state that it has left', () => {
    const light = new Lifecycle<Light>('green', moves)
    light.enter('red', new Error('why'))
    light.enter('green')
    expect(light.cause).toBeUndefined()
  })
})
