import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Workload } from '../../harness/workload.js'
import type { Operation } from '../../harness/operation.js'
import { sleep } from '../../harness/timing.js'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const never = (): Promise<void> => new Promise(() => undefined)

describe('Workload', () => {
  it('has each worker do one operation after the other', async () => {
    let running = 0
    const load = new Workload({
      workers: 3,
      operate: async () => {
        running += 1
        expect(running).toBeLessThanOrEqual(3)
        await sleep(10)
        running -= 1
      },
    }).start()
    await vi.advanceTimersByTimeAsync(1000)
    expect(load.recorder.acknowledged).toBeGreaterThanOrEqual(297)
    load.stop()
    await vi.advanceTimersByTimeAsync(100)
    expect(load.running).toBe(0)
  })

  it('keeps to its rate', async () => {
    const load = new Workload({ workers: 4, ratePerSecond: 100, operate: () => sleep(5) }).start()
    await vi.advanceTimersByTimeAsync(10_000)
    load.stop()
    expect(load.recorder.acknowledged).toBeGreaterThan(980)
    expect(load.recorder.acknowledged).toBeLessThanOrEqual(1001)
  })

  it('does not make up for what it missed', async () => {
    let isSlow = true
    const load = new Workload({ workers: 1, ratePerSecond: 100, operate: () => sleep(isSlow ? 2000 : 1) }).start()
    await vi.advanceTimersByTimeAsync(1000)
    isSlow = false
    await vi.advanceTimersByTimeAsync(2000)
    load.stop()
    expect(load.recorder.started).toBeLessThan(110)
  })

  it('counts what is not settled in time, and goes on in its place', async () => {
    const load = new Workload({
      workers: 1,
      allowanceMs: 500,
      operate: ({ sequence }: Operation) => (sequence === 1 ? never() : sleep(10)),
    }).start()
    await vi.advanceTimersByTimeAsync(1000)
    expect(load.recorder.unsettled).toBe(1)
    expect(load.recorder.acknowledged).toBeGreaterThan(10)
    const finished = load.finish(100)
    await vi.advanceTimersByTimeAsync(500)
    await finished
    expect(load.recorder.unsettled).toBe(1)
  })

  it('counts what is under way at the end as unsettled', async () => {
    const load = new Workload({ workers: 2, operate: never }).start()
    await vi.advanceTimersByTimeAsync(10)
    const finished = load.finish(1000)
    await vi.advanceTimersByTimeAsync(1100)
    await finished
    expect(load.recorder.unsettled).toBe(2)
  })

  it('counts errors by their code, and what they say about the operation', async () => {
    const load = new Workload({
      workers: 1,
      operate: () => Promise.reject(Object.assign(new Error('no'), { code: 'E_NO' })),
      outcomeOf: () => 'failed',
    }).start()
    await vi.advanceTimersByTimeAsync(100)
    load.stop()
    expect(load.recorder.errors.get('E_NO')).toBe(load.recorder.errorCount)
    // As a caller would, it waits a little after an error.
    expect(load.recorder.errorCount).toBeLessThanOrEqual(21)
    expect([...load.recorder.ledger.ids('failed')].length).toBe(load.recorder.errorCount)
  })
})
