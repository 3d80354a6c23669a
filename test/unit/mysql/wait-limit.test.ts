import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { WaitLimit } from '../../../src/mysql/wait-limit.js'

beforeEach(
  () =>
    void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'performance'] }),
)
afterEach(() => void vi.useRealTimers())

/** A limit of 10 s, and 2 s while there is no node, and when it expired. */
function start(node: { isHeld: boolean }): { limit: WaitLimit; expiredAt: () => number | undefined } {
  const begin = performance.now()
  let expiredAt: number | undefined
  const limit = new WaitLimit({
    totalMs: 10_000,
    heldMs: 2000,
    isHeld: () => node.isHeld,
    onExpired: () => (expiredAt = Math.round((performance.now() - begin) / 10) * 10),
  })
  return { limit, expiredAt: () => expiredAt }
}

test('with a node all of it may be waited for', async () => {
  const { expiredAt } = start({ isHeld: false })
  await vi.advanceTimersByTimeAsync(20_000)
  expect(expiredAt()).toBe(10_000)
})

test('without a node from the beginning it is the shorter one', async () => {
  const { expiredAt } = start({ isHeld: true })
  await vi.advanceTimersByTimeAsync(20_000)
  expect(expiredAt()).toBe(2000)
})

test('when the node is lost the shorter one counts from then, and never beyond the whole', async () => {
  const node = { isHeld: false }
  const early = start(node)
  await vi.advanceTimersByTimeAsync(1000)
  node.isHeld = true
  early.limit.hold()
  early.limit.hold()
  await vi.advanceTimersByTimeAsync(20_000)
  expect(early.expiredAt()).toBe(3000)
  const late = start(node)
  node.isHeld = false
  await vi.advanceTimersByTimeAsync(9000)
  node.isHeld = true
  late.limit.hold()
  await vi.advanceTimersByTimeAsync(20_000)
  expect(late.expiredAt()).toBe(10_000)
})

test('when there is a node again all of it may be waited for', async () => {
  const node = { isHeld: true }
  const { limit, expiredAt } = start(node)
  await vi.advanceTimersByTimeAsync(500)
  node.isHeld = false
  await vi.advanceTimersByTimeAsync(2500)
  expect(expiredAt()).toBeUndefined()
  node.isHeld = true
  limit.hold()
  await vi.advanceTimersByTimeAsync(20_000)
  expect(expiredAt()).toBe(5000)
})

test('cleared it never expires', async () => {
  const { limit, expiredAt } = start({ isHeld: false })
  limit.clear()
  await vi.advanceTimersByTimeAsync(20_000)
  expect(expiredAt()).toBeUndefined()
})
