import { describe, expect, it } from 'vitest'
import { Ledger } from '../../harness/ledger.js'
import { operation, parseOperation, type Outcome } from '../../harness/operation.js'

function ledger(outcomes: Readonly<Record<string, Outcome>>): Ledger {
  const made = new Ledger()
  for (const [id, outcome] of Object.entries(outcomes)) {
    const each = parseOperation(id)
    if (each === undefined) throw new Error(id)
    made.start(each)
    made.settle(each, outcome)
  }
  return made
}

const there = (...ids: readonly string[]): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}

describe('Ledger', () => {
  it('finds nothing where everything is as it was said', () => {
    const { lost, twice, denied, strangers } = ledger({
      '0-1': 'acknowledged',
      '0-2': 'failed',
      '3-1': 'acknowledged',
    }).compare(there('0-1', '3-1'))
    expect({ lost, twice, denied, strangers }).toEqual({ lost: [], twice: [], denied: [], strangers: [] })
  })

  it('finds what was acknowledged and is not there', () => {
    expect(ledger({ '0-1': 'acknowledged', '5-2': 'acknowledged' }).compare(there('0-1')).lost).toEqual(['5-2'])
  })

  it('finds what is there twice, whatever was said about it', () => {
    const found = ledger({ '0-1': 'acknowledged', '0-2': 'unknown' }).compare(there('0-1', '0-1', '0-2', '0-2'))
    expect(found.twice).toEqual(['0-1', '0-2'])
  })

  it('finds what was reported as failed and is there', () => {
    expect(ledger({ '0-1': 'failed', '0-2': 'failed' }).compare(there('0-2')).denied).toEqual(['0-2'])
  })

  it('allows both for what nobody knows', () => {
    const found = ledger({ '0-1': 'unknown', '0-2': 'unknown', '0-3': 'pending' }).compare(there('0-2', '0-3'))
    expect(found).toMatchObject({ lost: [], denied: [], unknownThere: 2 })
  })

  it('finds what was never asked for', () => {
    expect(ledger({ '0-1': 'acknowledged' }).compare(there('0-1', '7-9', 'x')).strangers).toEqual(['7-9', 'x'])
  })

  it('takes an acknowledgement that comes late', () => {
    const made = new Ledger()
    const late = operation(2, 1)
    made.start(late)
    expect(made.outcome(late)).toBe('pending')
    made.settle(late, 'acknowledged')
    expect([...made.ids('acknowledged')]).toEqual(['2-1'])
  })
})

describe('operation ids', () => {
  it('are read back', () => expect(parseOperation(operation(15, 234).id)).toEqual(operation(15, 234)))
  it('are told from other texts', () => expect(['1', '1-', 'a-1', '1-2-3', ''].map(parseOperation)).toEqual(Array(5)))
})
