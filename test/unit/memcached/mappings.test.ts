import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { libmemcachedDigestCounts } from '../../../src/memcached/ketama.js'
import { md5Point } from '../../../src/memcached/md5.js'
import { Rendezvous } from '../../../src/memcached/rendezvous.js'
import { Ring } from '../../../src/memcached/ring.js'
import type { Selector } from '../../../src/memcached/selector.js'
import type { ServerOptions } from '../../../src/memcached/server-address.js'
import { pointsOf, ringOf, serversOf } from './rings.js'

interface Vector {
  readonly servers: readonly Required<ServerOptions>[]
  readonly libmemcached: readonly number[]
  readonly pymemcache: readonly number[]
}

/** Recorded by test/data/memcached/record-mappings.py. */
const file = new URL('../../data/memcached/mappings.json', import.meta.url)
const recorded = JSON.parse(readFileSync(file, 'utf8')) as { keyCount: number; vectors: readonly Vector[] }

const keys = Array.from({ length: recorded.keyCount }, (_, i) =>
  i % 2 === 0 ? `key:${i}` : createHash('sha1').update(`${i}`).digest('hex'),
)
const ownersIn = (selector: Selector): number[] => keys.map((key) => selector.owner(md5Point(key), key))
const titled = recorded.vectors.map((vector): [string, Vector] => [
  `${vector.servers.length} servers of weights ${[...new Set(vector.servers.map(({ weight }) => weight))].join(', ')}`,
  vector,
])

describe('keys are on the same servers', () => {
  test.each(titled)("as with libmemcached's weighted ketama: %s", (_title, { servers, libmemcached }) => {
    const list = serversOf(servers)
    const ring = new Ring(pointsOf(list, libmemcachedDigestCounts(list)), list.length)
    expect(ownersIn(ring)).toEqual(libmemcached)
  })

  test.each(titled)("as with pymemcache's rendezvous hash: %s", (_title, { servers, pymemcache }) => {
    const named = servers.map(({ host, port }, index) => ({ index, name: `${host}:${port}` }))
    expect(ownersIn(new Rendezvous(named, servers.length))).toEqual(pymemcache)
  })

  test('without weights and for most numbers of servers the own ring is that of libmemcached, too', () => {
    const isPlain = ({ servers }: Vector): boolean => servers.every(({ weight }) => weight === 1)
    const same = recorded.vectors
      .filter(isPlain)
      .filter(({ servers, libmemcached }) => ownersIn(ringOf(servers)).join() === libmemcached.join())
    expect(same.map(({ servers }) => servers.length)).toEqual(expect.arrayContaining([1, 2, 3, 4, 5, 10]))
  })
})

test('of two nodes with the same score the one with the greater name answers', () => {
  const node = (index: number, name: string): { index: number; name: string } => ({ index, name })
  expect(new Rendezvous([node(0, 'a'), node(1, 'a')], 2).owner(0, 'k')).toBe(0)
  const shares = new Rendezvous([node(0, 'a:1'), node(1, 'b:1')], 2).shares()
  expect([...shares.all]).toEqual([0.5, 0.5])
})
