import { deflateSync, inflateSync } from 'node:zlib'
import { InvalidOptionError } from '../core/errors.js'
import { ProtocolError } from './errors.js'
import type { Payload, Reply } from './transport.js'

/**
 * What the flags of a stored value say about it.
 *
 * `text`, `integer`, `long`, `pickle` and `compressed` (zlib) are those of pymemcache and python-memcached; bytes have no
 * bit at all, so that Python neighbours read our strings and buffers as what they are. JSON is text with one more bit,
 * which Python does not know: it reads a `str` for `json.loads`. `empty` tells a Buffer without bytes from a
 * placeholder of `getOrSet`.
 */
const FLAGS = { pickle: 1, integer: 2, long: 4, compressed: 8, text: 16, json: 32, empty: 64 } as const

/** memcached takes anything above for an absolute time. */
const MAX_RELATIVE_SECONDS = 30 * 24 * 3600
/** Other clients may have compressed more than we would store; beyond this it is taken for garbage. */
const MAX_INFLATED_BYTES = 128 * 1024 * 1024
/** Fast rather than small: it runs on the thread that serves everything else. */
const COMPRESSION_LEVEL = 1

/**
 * The value as it is stored, compressed when it has at least `compressFromBytes`. Throws `InvalidOptionError` for what
 * JSON cannot express. @internal
 */
export function encodeValue(value: unknown, ttlSeconds: number, compressFromBytes = Infinity): Payload {
  const payload = plainPayload(value, toExpiry(ttlSeconds))
  if (payload.size < compressFromBytes) return payload
  const data = deflateSync(payload.data, { level: COMPRESSION_LEVEL })
  if (data.length >= payload.size) return payload
  return { ...payload, data, size: data.length, flags: payload.flags | FLAGS.compressed }
}

/** A count that Python reads as an `int`, for counters. @internal */
export function encodeCount(count: bigint, ttlSeconds: number): Payload {
  const data = count.toString()
  return { data, size: data.length, flags: FLAGS.integer, expiry: toExpiry(ttlSeconds) }
}

function plainPayload(value: unknown, expiry: number): Payload {
  if (typeof value === 'string') return { data: value, size: Buffer.byteLength(value), flags: FLAGS.text, expiry }
  if (value instanceof Uint8Array) {
    const data = Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    return { data, size: data.length, flags: data.length === 0 ? FLAGS.empty : 0, expiry }
  }
  const data = toJson(value)
  return { data, size: Buffer.byteLength(data), flags: FLAGS.text | FLAGS.json, expiry }
}

/** The value as it was given to `set`; a `Buffer` for what other clients stored in a way of their own. @internal */
export function decodeValue(reply: Reply): unknown {
  const { bytes, start, end, flags } = reply
  if ((flags & FLAGS.compressed) !== 0) {
    const inflated = inflate(bytes.subarray(start, end))
    if (inflated !== undefined) return decode(inflated, 0, inflated.length, flags)
    return Buffer.from(bytes.subarray(start, end))
  }
  return decode(bytes, start, end, flags)
}

/** True for what `getOrSet` stores under a key while its value is loaded. @internal */
export function isPlaceholder({ status, start, end, flags, isWon, isLeased }: Reply): boolean {
  return start === end && flags === 0 && (isWon || isLeased) && status === 'value'
}

/** memcached's expiry for a time to live: 0 is never, more than 30 days becomes an absolute time. @internal */
export function toExpiry(ttlSeconds: number): number {
  return ttlSeconds > MAX_RELATIVE_SECONDS ? Math.floor(Date.now() / 1000) + ttlSeconds : ttlSeconds
}

function decode(bytes: Buffer, start: number, end: number, flags: number): unknown {
  if ((flags & FLAGS.pickle) === 0) {
    if ((flags & FLAGS.json) !== 0) return fromJson(bytes.toString('utf8', start, end))
    if ((flags & FLAGS.text) !== 0) return bytes.toString('utf8', start, end)
    if ((flags & (FLAGS.integer | FLAGS.long)) !== 0) return toNumber(bytes.toString('latin1', start, end))
  }
  // A copy, because the bytes belong to the connection's read buffer.
  return Buffer.from(bytes.subarray(start, end))
}

/** An integer that a number cannot hold is a BigInt. */
function toNumber(text: string): number | bigint {
  const number = Number(text)
  return Number.isSafeInteger(number) || !/^\s*-?\d+\s*$/.test(text) ? number : BigInt(text)
}

/** `undefined` for what is not zlib's: other clients use the flag in ways of their own. */
function inflate(bytes: Buffer): Buffer | undefined {
  try {
    return inflateSync(bytes, { maxOutputLength: MAX_INFLATED_BYTES })
  } catch {
    return undefined
  }
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
