import { expect, test, vi } from 'vitest'
import { onAbort } from '../../../src/core/timing.js'

test('any number of calls may share a signal, without a warning on the console', async () => {
  const warned = vi.fn()
  process.on('warning', warned)
  const controller = new AbortController()
  const [left, ...others] = Array.from({ length: 30 }, () => vi.fn())
  const forget = onAbort(controller.signal, left as () => void)
  for (const listener of others) onAbort(controller.signal, listener)
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', warned)
  expect(warned).not.toHaveBeenCalled()
  forget()
  controller.abort()
  expect(left).not.toHaveBeenCalled()
  for (const listener of others) expect(listener).toHaveBeenCalledTimes(1)
})

test('without a signal there is nothing to wait for, nor to take back', () => {
  const listener = vi.fn()
  onAbort(undefined, listener)()
  expect(listener).not.toHaveBeenCalled()
})
