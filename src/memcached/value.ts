import { InvalidOptionError } from '../core/errors.js'
import { ProtocolError } from './errors.js'
import type { Payload, Reply } from './transport.js'

/**
 * What the flags of a stored value say about it.
 *
 * `text` is the bit that pymemcache and python-memcached set for a `str`, and bytes have no bit at all, so that Python
 * neighbours read our strings and buffers as what they are. JSON is text with one more bit, which Python does not know:
 * it reads a `str` for `json.loads`. `integer` and `long` are read, never written.
 */
const FLAGS = { pickle: 1, integer: 2, long: 4, compressed: 8, text: 16, json: 32 } as const

/** memcached takes anything above for an absolute time. */
const MAX_RELATIVE_SECONDS = 30 * 24 * 3600

/** The value as it is stored. Throws `InvalidOptionError` for what JSON cannot express. @internal */
export function encodeValue(value: unknown, ttlSeconds: number): Payload {
  const expiry = toExpiry(ttlSeconds)
  if (typeof value === 'string') return { data: value, size: Buffer.byteLength(value), flags: FLAGS.text, expiry }
  if (value instanceof Uint8Array) {
    const data = Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    return { data, size: data.length, flags: 0, expiry }
  }
  const data = toJson(value)
  return { data, size: Buffer.byteLength(data), flags: FLAGS.text | FLAGS.json, expiry }
}

/** The value as it was given to `set`; a `Buffer` for what other clients stored in a way of their own. @internal */
export function decodeValue(reply: Reply): unknown {
  const { bytes, start, end, flags } = reply
  if ((flags & (FLAGS.pickle | FLAGS.compressed)) === 0) {
    if ((flags & FLAGS.json) !== 0) return fromJson(bytes.toString('utf8', start, end))
    if ((flags & FLAGS.text) !== 0) return bytes.toString('utf8', start, end)
    if ((flags & (FLAGS.integer | FLAGS.long)) !== 0) return Number(bytes.toString('latin1', start, end))
  }
  // A copy, because the bytes belong to the connection's read buffer.
  return Buffer.from(bytes.subarray(start, end))
}

/** memcached's expiry for a time to live: 0 is never, more than 30 days becomes an absolute time. @internal */
export function toExpiry(ttlSeconds: number): number {
  return ttlSeconds > MAX_RELATIVE_SECONDS ? Math.floor(Date.now() / 1000) + ttlSeconds : ttlSeconds
}

function toJson(value: unknown): string {
  let json: unknown
  try {
    json = JSON.stringify(value)
  } catch (error) {
    throw new InvalidOptionError('value', `cannot be stored: ${(error as Error).message}`)
  }
  if (typeof json !== 'string') throw new InvalidOptionError('value', 'cannot be stored: JSON has nothing for it')
  return json
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ProtocolError('a stored value is marked as JSON and is none', error)
  }
}
