import { describe, expect, test } from 'vitest'
import { electWriter, type Candidate } from '../../../src/mysql/election.js'
import { galeraReport } from '../../helpers/galera-report.js'

function candidate(name: string, changes: Partial<Candidate> = {}): Candidate {
  return {
    name,
    priority: 0,
    isFit: true,
    report: galeraReport(),
    askedAt: 100,
    viewSeenAt: 0,
    ageMs: 3_600_000,
    requiredAgeMs: 30_000,
    isWrittenTo: false,
    ...changes,
  }
}

const elect = (candidates: readonly Candidate[], isClientYoung = false): string | undefined =>
  electWriter({ candidates, isClientYoung }).writer

describe('electWriter', () => {
  test('takes the first of the list when all are fit and old', () => {
    expect(elect([candidate('a'), candidate('b'), candidate('c')])).toBe('a')
  })

  test('prefers the lower priority over the order of the list', () => {
    expect(elect([candidate('a', { priority: 2 }), candidate('b', { priority: 1 })])).toBe('b')
  })

  test('elects nobody when nobody is fit', () => {
    const result = electWriter({ candidates: [candidate('a', { isFit: false })], isClientYoung: false })
    expect(result).toEqual({ writer: undefined, reason: 'no node is fit to be written to', members: [] })
  })

  test('passes over a node that is back for less than its failback delay while an older one exists', () => {
    const result = electWriter({
      candidates: [candidate('a', { ageMs: 29_999 }), candidate('b')],
      isClientYoung: false,
    })
    expect(result.writer).toBe('b')
    expect(result.reason).toContain('a is back for less than')
  })

  test('goes by the order of the list when no node is old enough', () => {
    expect(elect([candidate('a', { ageMs: 10 }), candidate('b', { ageMs: 20_000 })])).toBe('a')
  })

  test('a node that relapses has to be older', () => {
    expect(elect([candidate('a', { ageMs: 40_000, requiredAgeMs: 60_000 }), candidate('b')])).toBe('b')
  })

  test('a young client follows the node that the others write to', () => {
    const candidates = [candidate('a'), candidate('b', { isWrittenTo: true })]
    expect(elect(candidates, true)).toBe('b')
    expect(elect(candidates, false)).toBe('a')
  })

  test('a node in an older view does not stand, once it was asked after the newer view was seen', () => {
    const older = candidate('a', { report: galeraReport({ viewId: 4n }), askedAt: 300 })
    const newer = candidate('b', { report: galeraReport({ viewId: 5n }), viewSeenAt: 200 })
    expect(elect([older, newer])).toBe('b')
    expect(elect([{ ...older, askedAt: 150 }, newer])).toBe('a')
  })

  test('of two clusters in one list the larger one is meant', () => {
    const other = candidate('a', { report: galeraReport({ clusterUuid: 'other', viewId: 99n }) })
    expect(elect([other, candidate('b'), candidate('c')])).toBe('b')
  })

  test('a server without wsrep stands on its own', () => {
    expect(elect([candidate('a', { report: galeraReport({ isGalera: false }) })])).toBe('a')
  })
})
