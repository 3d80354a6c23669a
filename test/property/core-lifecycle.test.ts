import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Lifecycle } from '../../src/core/lifecycle.js'

const states = ['a', 'b', 'c', 'd', 'e'] as const
type State = (typeof states)[number]
const tables = fc.record({
  a: fc.subarray([...states]),
  b: fc.subarray([...states]),
  c: fc.subarray([...states]),
  d: fc.subarray([...states]),
  e: fc.subarray([...states]),
})

test('a random walk goes along the table only, and each step that is taken is reported', () => {
  fc.assert(
    fc.property(tables, fc.array(fc.constantFrom(...states)), (moves, walk) => {
      const seen: [State, State][] = []
      const lifecycle = new Lifecycle<State>('a', moves, ({ from, to }) => seen.push([from, to]))
      let state: State = 'a'
      for (const to of walk) {
        const isDeclared = moves[state].includes(to)
        expect(lifecycle.canEnter(to)).toBe(isDeclared)
        if (isDeclared) lifecycle.enter((state = to))
        else expect(() => lifecycle.enter(to)).toThrow('not a declared transition')
        expect(lifecycle.state).toBe(state)
      }
      expect(seen.at(-1)?.[1] ?? 'a').toBe(state)
      for (const [from, to] of seen) expect(moves[from]).toContain(to)
    }),
  )
})
