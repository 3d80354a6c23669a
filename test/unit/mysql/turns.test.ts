import { describe, expect, test } from 'vitest'
import { Deferred } from '../../../src/core/timing.js'
import { Turns } from '../../../src/mysql/turns.js'

describe('tasks in turns', () => {
  test('start at once when nothing runs, and else in their order, one at a time', async () => {
    const turns = new Turns()
    const log: string[] = []
    const gates = [new Deferred<undefined>(), new Deferred<undefined>(), new Deferred<undefined>()]
    const ended = gates.map((gate, i) =>
      turns.run(async () => {
        log.push(`start ${i}`)
        await gate.promise
        log.push(`end ${i}`)
        return i
      }),
    )
    expect(log).toEqual(['start 0'])
    for (const gate of gates.reverse()) gate.resolve(undefined)
    await expect(Promise.all(ended)).resolves.toEqual([0, 1, 2])
    expect(log).toEqual(['start 0', 'end 0', 'start 1', 'end 1', 'start 2', 'end 2'])
  })

  test('go on after one that failed', async () => {
    const turns = new Turns()
    const failed = turns.run(() => Promise.reject(new Error('on purpose')))
    const next = turns.run(() => Promise.resolve(7))
    await expect(failed).rejects.toThrow('on purpose')
    await expect(next).resolves.toBe(7)
  })

  test('are idle when what was asked until now has ended, however it ended', async () => {
    const turns = new Turns()
    await turns.idle()
    const gate = new Deferred<undefined>()
    const failed = turns.run(() => gate.promise)
    let isIdle = false
    const idle = turns.idle().then(() => (isIdle = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(isIdle).toBe(false)
    gate.reject(new Error('on purpose'))
    await idle
    await expect(failed).rejects.toThrow('on purpose')
    const log: string[] = []
    const again = turns.run(() => (log.push('at once'), Promise.resolve()))
    expect(log).toEqual(['at once'])
    await again
  })
})
