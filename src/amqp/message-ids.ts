import { randomBytes } from 'node:crypto'

const BLOCK_BYTES = 6
/** 36 to the power of 3. */
const IDS_PER_BLOCK = 46_656

let block = randomBytes(BLOCK_BYTES).readUIntBE(0, BLOCK_BYTES)
let prefix = prefixOf(block)
let count = 0

/**
 * An id for a message: it counts up from a start that each process chooses at random among 2^63, so that none
 * meets another's.
 *
 * Not a UUID, because at most 11 characters keep amqplib's frame of an ordinary message's properties within 64 bytes.
 * Up to there Node keeps a buffer in its own heap; the allocation of one outside made each publish 2 us dearer.
 * @internal
 */
export function newMessageId(): string {
  if (count === IDS_PER_BLOCK) {
    block = (block + 1) % 2 ** (8 * BLOCK_BYTES)
    prefix = prefixOf(block)
    count = 0
  }
  count += 1
  return prefix + (count - 1).toString(36)
}

function prefixOf(number: number): string {
  const bytes = Buffer.alloc(BLOCK_BYTES)
  bytes.writeUIntBE(number, 0, BLOCK_BYTES)
  return bytes.toString('base64url')
}
