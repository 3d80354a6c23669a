import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { KeyError } from '../../../src/memcached/errors.js'
import { wireKey } from '../../../src/memcached/key.js'

const hash = { keyPrefix: '', longKeys: 'hash' } as const
const refuse = { keyPrefix: '', longKeys: 'refuse' } as const
const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex')

describe('wireKey', () => {
  test('a key that memcached can hold stays as it is', () => {
    expect(wireKey('token:1', hash)).toBe('token:1')
    expect(wireKey('k'.repeat(250), refuse)).toBe('k'.repeat(250))
  })

  test.each([
    ['251 bytes', 'k'.repeat(251)],
    ['a space', 'a b'],
    ['a line end', 'a\r\nflush_all'],
    ['a null byte', 'a\0b'],
    ['a delete character', 'a\x7f'],
    ['letters outside ASCII', 'clé'],
  ])('a key with %s becomes its SHA-1, as oslo.cache makes it', (_what, key) => {
    expect(wireKey(key, hash)).toBe(sha1(key))
  })

  test('a key that does not fit is refused when the options say so', () => {
    expect(() => wireKey('a b', refuse)).toThrow(KeyError)
    expect(() => wireKey('k'.repeat(251), refuse)).toThrow('key of 251 bytes is over 250 bytes')
  })

  test('an empty key, and what is no string, is always refused', () => {
    expect(() => wireKey('', hash)).toThrow(KeyError)
    expect(() => wireKey(undefined as unknown as string, hash)).toThrow(KeyError)
  })

  test('a prefix is put before the key, counts for its length, and stays in front of a hash', () => {
    const rules = { keyPrefix: 'nova:', longKeys: 'hash' } as const
    expect(wireKey('a', rules)).toBe('nova:a')
    expect(wireKey('k'.repeat(246), rules)).toBe(`nova:${sha1('k'.repeat(246))}`)
  })
})
