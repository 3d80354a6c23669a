import { randomBytes } from 'node:crypto'

/** Bytes of a fence id: a UUID, version 7 (RFC 9562). */
export const FENCE_ID_BYTES = 16

const TIME_BYTES = 6

/**
 * A new id: ordered by time, so that rows are appended to the primary key and old ones are found without an index of
 * their own. @internal
 */
export function newFenceId(wallClockMs: number = Date.now()): Buffer {
  const id = randomBytes(FENCE_ID_BYTES)
  id.writeUIntBE(wallClockMs, 0, TIME_BYTES)
  id[6] = 0x70 | ((id[6] as number) & 0x0f)
  id[8] = 0x80 | ((id[8] as number) & 0x3f)
  return id
}

/** What no id that was made at or after this time is below. @internal */
export function lowestFenceId(wallClockMs: number): Buffer {
  const id = Buffer.alloc(FENCE_ID_BYTES)
  id.writeUIntBE(wallClockMs, 0, TIME_BYTES)
  return id
}
