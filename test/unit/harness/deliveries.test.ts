import { describe, expect, it } from 'vitest'
import { Deliveries } from '../../harness/deliveries.js'

const WINDOW = { from: 0, to: 100 }

describe('Deliveries', () => {
  it('tells what one process has handled twice from what two have handled', () => {
    const deliveries = new Deliveries(2)
    deliveries.note(0, '0-1', 10)
    deliveries.note(0, '0-1', 20)
    deliveries.note(0, '0-2', 30)
    deliveries.note(1, '0-2', 40)
    expect([...deliveries.most]).toEqual([
      ['0-1', 2],
      ['0-2', 1],
    ])
    expect(deliveries.acrossProcesses).toBe(1)
  })

  it('knows messages that somebody else was given, who may be given them twice', () => {
    const deliveries = new Deliveries(1)
    deliveries.noteElsewhere('0-1')
    deliveries.noteElsewhere('0-1')
    expect(deliveries.has('0-1')).toBe(true)
    expect([...deliveries.most]).toEqual([['0-1', 1]])
    expect(deliveries.gap(WINDOW, [0]).ms).toBe(100)
  })

  it('puts what processes tell in batches into its order', () => {
    const deliveries = new Deliveries(2)
    for (const at of [10, 30, 50, 90]) deliveries.note(0, `0-${at}`, at)
    for (const at of [20, 40, 70]) deliveries.note(1, `0-${at}`, at)
    expect(deliveries.gap(WINDOW, [0, 1]).ms).toBe(20)
    expect(deliveries.gap(WINDOW, [0]).ms).toBe(40)
  })

  it('does not take a second copy for a sign of life', () => {
    const deliveries = new Deliveries(1)
    deliveries.note(0, '0-1', 10)
    deliveries.note(0, '0-1', 90)
    expect(deliveries.gap(WINDOW, [0])).toMatchObject({ ms: 90, atMs: 10 })
  })
})
