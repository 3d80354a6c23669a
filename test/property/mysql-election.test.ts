import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { electWriter, type Candidate } from '../../src/mysql/election.js'
import { galeraReport } from '../helpers/galera-report.js'

const ages = fc.constantFrom(0, 10_000, 29_999, 30_000, 100_000)

const candidates = fc
  .array(
    fc.record({
      priority: fc.integer({ min: 0, max: 2 }),
      isFit: fc.boolean(),
      viewId: fc.bigInt({ min: 1n, max: 3n }),
      askedAt: fc.integer({ min: 0, max: 500 }),
      viewSeenAt: fc.integer({ min: 0, max: 500 }),
      ageMs: ages,
      requiredAgeMs: fc.constantFrom(30_000, 60_000),
      isWrittenTo: fc.boolean(),
      clusterUuid: fc.constantFrom('one', 'two'),
    }),
    { maxLength: 6 },
  )
  .map((nodes) =>
    nodes.map(({ viewId, clusterUuid, ...node }, index): Candidate => ({
      ...node,
      name: `node${index}`,
      report: galeraReport({ viewId, clusterUuid }),
    })),
  )

describe('any two clients', () => {
  test('that see the same answers elect the same node, and a fit one whenever there is one', () => {
    fc.assert(
      fc.property(candidates, fc.boolean(), (list, isClientYoung) => {
        const one = electWriter({ candidates: list, isClientYoung })
        const other = electWriter({ candidates: structuredClone<readonly Candidate[]>(list), isClientYoung })
        expect(other).toEqual(one)
        expect(one.writer !== undefined).toBe(list.some(({ isFit }) => isFit))
        if (one.writer !== undefined) {
          expect(list.find(({ name }) => name === one.writer)?.isFit).toBe(true)
          expect(one.members).toContain(one.writer)
        }
      }),
    )
  })

  test('agree whatever the time at which each of them asked, as long as no view is changing', () => {
    fc.assert(
      fc.property(candidates, fc.array(fc.integer({ min: 0, max: 1000 })), (list, times) => {
        const settled = list.map((node) => ({ ...node, report: galeraReport() }))
        const later = settled.map((node, index) => ({
          ...node,
          askedAt: times[index] ?? 0,
          viewSeenAt: times.at(-1) ?? 0,
        }))
        const one = electWriter({ candidates: settled, isClientYoung: false })
        expect(electWriter({ candidates: later, isClientYoung: false })).toEqual(one)
      }),
    )
  })

  test('the elected node stays elected when an unfit node disappears from the list', () => {
    fc.assert(
      fc.property(candidates, (list) => {
        const { writer } = electWriter({ candidates: list, isClientYoung: false })
        const fit = list.filter(({ isFit }) => isFit)
        expect(electWriter({ candidates: fit, isClientYoung: false }).writer).toBe(writer)
      }),
    )
  })
})
