import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { ketamaName, libmemcachedDigestCounts } from '../../../src/memcached/ketama.js'
import { md5Point } from '../../../src/memcached/md5.js'
import { firstPoint, Ring } from '../../../src/memcached/ring.js'
import { pointsOf, ringOf, serversOf } from './rings.js'

const endpoints = (count: number): { host: string; port: number }[] =>
  Array.from({ length: count }, (_, i) => ({ host: `10.0.0.${i + 1}`, port: 11211 }))

describe('ketamaPoints', () => {
  test.each([1, 3, 7, 14, 50])('each of %i servers has 160 points, in ascending order', (count) => {
    const { points, owners } = pointsOf(serversOf(endpoints(count)))
    expect(points.length).toBe(160 * count)
    expect([...points]).toEqual([...points].sort((a, b) => a - b))
    for (let server = 0; server < count; server += 1) {
      expect(owners.filter((owner) => owner === server).length).toBe(160)
    }
  })

  test("memcached's own port is not part of a server's name, as in libmemcached", () => {
    expect(ketamaName({ host: 'h1', port: 11211 })).toBe('h1')
    expect(ketamaName({ host: 'h1', port: 11212 })).toBe('h1:11212')
    const digest = createHash('md5').update('h1-0').digest()
    expect(pointsOf(serversOf(['h1'])).points).toContain(digest.readUInt32LE(0))
  })

  test('an IPv6 address is a server like any other', () => {
    const { owners } = pointsOf(
      serversOf([
        { host: '::1', port: 11211 },
        { host: '::2', port: 11212 },
      ]),
    )
    expect(owners.filter((owner) => owner === 1).length).toBe(160)
  })
})

describe('Ring', () => {
  test('the first point at or after the hash counts, and after the last comes the first', () => {
    const points = Uint32Array.of(10, 20, 30)
    expect([0, 10, 11, 30, 31].map((hash) => firstPoint(points, hash))).toEqual([0, 0, 1, 2, 0])
  })

  test('with all nodes out nobody answers', () => {
    const ring = ringOf(endpoints(2))
    ring.setOut(0, true)
    ring.setOut(1, true)
    expect(ring.owner(md5Point('a'))).toBe(-1)
    expect([...ring.passedOver(md5Point('a'))].sort()).toEqual([0, 1])
  })

  test('a server that libmemcached finds too light for a point answers for nothing, in use or out', () => {
    const servers = serversOf(['light', { host: 'heavy', weight: 1000 }])
    const ring = new Ring(pointsOf(servers, libmemcachedDigestCounts(servers)), 2)
    expect(ring.owner(md5Point('a'))).toBe(1)
    ring.setOut(1, true)
    expect(ring.owner(md5Point('a'))).toBe(-1)
    ring.setOut(0, true)
    expect(ring.owner(md5Point('a'))).toBe(-1)
    ring.setOut(1, false)
    expect(ring.owner(md5Point('a'))).toBe(1)
  })

  test('the nodes passed over are those that would have been asked before, in order', () => {
    const ring = ringOf(endpoints(4))
    const hash = md5Point('token:1')
    expect(ring.passedOver(hash)).toEqual([])
    const first = ring.owner(hash)
    ring.setOut(first, true)
    const second = ring.owner(hash)
    expect(ring.passedOver(hash)).toEqual([first])
    ring.setOut(second, true)
    expect(ring.passedOver(hash)).toEqual([first, second])
    ring.setOut(first, false)
    expect(ring.passedOver(hash)).toEqual([])
  })

  test('saying twice that a node is out changes nothing', () => {
    const ring = ringOf(endpoints(3))
    ring.setOut(1, true)
    const { version } = ring
    ring.setOut(1, true)
    expect({ out: ring.outCount, version: ring.version }).toEqual({ out: 1, version })
  })
})

describe('md5Point', () => {
  test('it is the first word of the MD5 for texts of every length that a key can have', () => {
    for (let length = 0; length <= 260; length += 1) {
      const text = String(length).padEnd(length, '~k').slice(0, length)
      expect(md5Point(text)).toBe(createHash('md5').update(text).digest().readUInt32LE(0))
    }
  })
})
