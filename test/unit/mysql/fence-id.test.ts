import { expect, test } from 'vitest'
import { lowestFenceId, newFenceId } from '../../../src/mysql/fence-id.js'

test('an id is a UUID of version 7 and of the RFC’s variant', () => {
  const hex = newFenceId(0x0123456789ab).toString('hex')
  expect(hex).toMatch(/^0123456789ab7[0-9a-f]{3}[89ab][0-9a-f]{15}$/)
})

test('ids are ordered by time, differ within a millisecond, and none is below the lowest of its time', () => {
  const at = Date.UTC(2026, 0, 1)
  const [earlier, one, other] = [newFenceId(at - 1), newFenceId(at), newFenceId(at)]
  expect(Buffer.compare(earlier, one)).toBe(-1)
  expect(one.equals(other)).toBe(false)
  expect(Buffer.compare(lowestFenceId(at), one)).toBe(-1)
  expect(Buffer.compare(lowestFenceId(at), earlier)).toBe(1)
})
