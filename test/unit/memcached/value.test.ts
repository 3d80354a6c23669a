import { describe, expect, test } from 'vitest'
import { InvalidOptionError } from '../../../src/core/errors.js'
import { ProtocolError } from '../../../src/memcached/errors.js'
import { NO_REPLY, type Reply } from '../../../src/memcached/transport.js'
import { decodeValue, encodeValue, toExpiry } from '../../../src/memcached/value.js'

function stored(data: string | Buffer, flags: number): Reply {
  const bytes = Buffer.concat([Buffer.from('<<'), Buffer.from(data), Buffer.from('>>')])
  return { ...NO_REPLY, status: 'value', flags, bytes, start: 2, end: bytes.length - 2, error: undefined }
}

function roundTrip(value: unknown): unknown {
  const { data, flags, size } = encodeValue(value, 0)
  expect(size).toBe(Buffer.byteLength(data))
  return decodeValue(stored(data, flags))
}

describe('values', () => {
  test.each([['text'], ['clé \u{1f511}'], [''], [0], [-1.5], [true], [null], [[1, 'a']], [{ a: { b: [] } }]])(
    '%j comes back as it was',
    (value) => {
      expect(roundTrip(value)).toEqual(value)
    },
  )

  test('bytes come back as a Buffer that shares no memory with the connection', () => {
    const bytes = Buffer.from([0, 255, 13, 10])
    expect(roundTrip(bytes)).toEqual(bytes)
    expect(roundTrip(new Uint8Array([1, 2]))).toEqual(Buffer.from([1, 2]))
    const reply = stored('abc', 0)
    const value = decodeValue(reply) as Buffer
    reply.bytes.fill(0)
    expect(value.toString()).toBe('abc')
  })

  test("strings have pymemcache's flag for text, bytes have none, JSON is text with one more", () => {
    expect(encodeValue('a', 0).flags).toBe(16)
    expect(encodeValue(Buffer.from('a'), 0).flags).toBe(0)
    expect(encodeValue({}, 0).flags).toBe(48)
  })

  test('an integer that Python stored is a number, and what Python pickled is a Buffer', () => {
    expect(decodeValue(stored('42', 2))).toBe(42)
    expect(decodeValue(stored('pickle', 1))).toEqual(Buffer.from('pickle'))
    expect(decodeValue(stored('zlib', 16 + 8))).toEqual(Buffer.from('zlib'))
  })

  test('what JSON cannot express is refused', () => {
    for (const value of [undefined, () => 1, 1n, Symbol('a')]) {
      expect(() => encodeValue(value, 0)).toThrow(InvalidOptionError)
    }
  })

  test('a value that is marked as JSON and is none is an error', () => {
    expect(() => decodeValue(stored('{', 48))).toThrow(ProtocolError)
  })

  test('a time to live over 30 days becomes an absolute time', () => {
    const month = 30 * 24 * 3600
    expect(toExpiry(0)).toBe(0)
    expect(toExpiry(month)).toBe(month)
    expect(Math.abs(toExpiry(month + 1) - (Date.now() / 1000 + month + 1))).toBeLessThan(2)
  })
})
