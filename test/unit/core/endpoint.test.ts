import { describe, expect, test } from 'vitest'
import { formatEndpoint, parseEndpoint, parseEndpoints } from '../../../src/core/endpoint.js'
import { InvalidOptionError } from '../../../src/core/errors.js'

describe('parseEndpoint()', () => {
  test.each([
    ['h1', { host: 'h1', port: 3306 }],
    ['h1:3307', { host: 'h1', port: 3307 }],
    ['db-1.example.org:1', { host: 'db-1.example.org', port: 1 }],
    ['10.0.0.1:65535', { host: '10.0.0.1', port: 65_535 }],
    ['[::1]', { host: '::1', port: 3306 }],
    ['[2001:db8::7]:3307', { host: '2001:db8::7', port: 3307 }],
  ])('reads %s', (text, endpoint) => {
    expect(parseEndpoint(text, 3306, 'hosts')).toEqual(endpoint)
  })

  test.each([
    ['', 'empty'],
    [':3306', 'empty'],
    ['h1:', 'port'],
    ['h1:0', 'port'],
    ['h1:65536', 'port'],
    ['h1:mysql', 'port'],
    ['h1:-1', 'port'],
    ['h1:3306.5', 'port'],
    ['h1: 3306', 'port'],
    ['::1', 'brackets'],
    ['::1:3306', 'brackets'],
    ['[h1]:3306', 'not an IPv6 address'],
    ['[]', 'not an IPv6 address'],
    ['[::1]:', 'port'],
    ['[::1', 'brackets'],
    ['[::1]x', 'brackets'],
    ['h 1', 'illegal'],
    ['h1/nova', 'illegal'],
    ['u@h1', 'illegal'],
    ['h1,h2', 'illegal'],
    ['h1?x', 'illegal'],
    ['h1#x', 'illegal'],
    ['h1\\x', 'illegal'],
  ])('refuses %j', (text, why) => {
    const parse = (): unknown => parseEndpoint(text, 3306, 'hosts')
    expect(parse).toThrow(InvalidOptionError)
    expect(parse).toThrow(why)
    expect(parse).toThrow("option 'hosts'")
  })
})

describe('formatEndpoint()', () => {
  test('puts IPv6 in brackets', () => {
    expect(formatEndpoint({ host: '::1', port: 1 })).toBe('[::1]:1')
    expect(formatEndpoint({ host: 'h1', port: 1 })).toBe('h1:1')
  })
})

describe('parseEndpoints()', () => {
  test('takes strings and objects, in order', () => {
    const endpoints = parseEndpoints([' h1 ', 'h2:1', { host: 'h3' }, { host: '::1', port: 2 }], 9, 'hosts')
    expect(endpoints.map(formatEndpoint)).toEqual(['h1:9', 'h2:1', 'h3:9', '[::1]:2'])
    expect(Object.isFrozen(endpoints)).toBe(true)
  })

  test.each([
    ['no host', []],
    ['an endpoint twice', ['h1', { host: 'h1', port: 9 }]],
    ['a number', [5]],
    ['null', [null]],
    ['an object without a host', [{ port: 1 }]],
    ['a port that is text', [{ host: 'h1', port: '1' }]],
    ['a port that is out of range', [{ host: 'h1', port: 1e6 }]],
    ['a port that is no whole number', [{ host: 'h1', port: 1.5 }]],
  ])('refuses %s', (_, list) => {
    expect(() => parseEndpoints(list, 9, 'hosts')).toThrow(InvalidOptionError)
  })
})
