import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Calls } from '../../../src/mysql/calls.js'
import type { DriverConnection } from '../../../src/mysql/driver.js'
import { FlowCheck } from '../../../src/mysql/flow-check.js'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Runs one call for `seconds` on a server that always answers `command`. */
async function watch(seconds: number, command: string, changes: object = {}): Promise<{ asked: number; cut: number }> {
  let asked = 0
  let cut = 0
  const connection = { threadId: 7, localPort: 1, traffic: 0, isPaused: false, cut: () => (cut += 1), ...changes }
  const calls = new Calls(250, () => check.look())
  const ask = (): Promise<unknown> => {
    asked += 1
    return Promise.resolve([{ server: 'a', id: 7, host: 'h:1', command }])
  }
  const check = new FlowCheck({ name: 'h:3306', calls, ask, timeoutMs: 500 })
  const call = calls.start(connection as unknown as DriverConnection)
  await vi.advanceTimersByTimeAsync(seconds * 1000)
  calls.end(call, false)
  calls.close()
  return { asked, cut }
}

test('a call younger than two seconds costs no question', async () => {
  expect(await watch(1.9, 'Sleep')).toEqual({ asked: 0, cut: 0 })
})

test('a statement that runs for minutes is asked about ever more seldom, and never cut', async () => {
  const { asked, cut } = await watch(300, 'Query')
  expect(cut).toBe(0)
  expect(asked).toBeGreaterThan(5)
  expect(asked).toBeLessThan(25)
})

test('a connection that sleeps is cut at the second look, soon after the first', async () => {
  expect((await watch(2.9, 'Sleep')).cut).toBe(0)
  expect((await watch(3.3, 'Sleep')).cut).toBeGreaterThan(0)
})

test('a reader who holds the answer back is left alone', async () => {
  expect((await watch(60, 'Sleep', { isPaused: true })).cut).toBe(0)
})

test('a server that does not answer the question decides nothing', async () => {
  const calls = new Calls(250, () => check.look())
  const ask = vi.fn(() => Promise.reject(new Error('1047')))
  const check = new FlowCheck({ name: 'h:3306', calls, ask, timeoutMs: 500 })
  const cut = vi.fn()
  calls.start({ threadId: 7, localPort: 1, traffic: 0, isPaused: false, cut } as unknown as DriverConnection)
  await vi.advanceTimersByTimeAsync(30_000)
  expect(ask.mock.calls.length).toBeGreaterThan(2)
  expect(cut).not.toHaveBeenCalled()
  calls.close()
})
