import { afterEach, describe, expect, test } from 'vitest'
import type { RingKind } from '../../src/memcached/index.js'
import { Random } from '../harness/random.js'
import { Traffic } from '../integration/memcached/traffic.js'
import { md5Point } from '../../src/memcached/md5.js'
import { ringOf as ringOfNames } from '../unit/memcached/rings.js'
import { keysOf, type FakeMemcached } from './fake-memcached.js'
import { becomes, connect, endAll, startFakes } from './memcached-helpers.js'

afterEach(endAll)

const ROUNDS = 30

describe.each<RingKind>(['ketama', 'libmemcached', 'pymemcache'])('with the mapping %s', (compat) => {
  test(
    'servers that come and go, and that crash and return, never make a value older than what was written',
    { timeout: 90_000 },
    async () => {
      const random = new Random(Date.now() % 1_000_000)
      const fakes = await startFakes(6)
      const [first, second, ...others] = fakes.map(({ name }) => name) as [string, string, ...string[]]
      const client = await connect(fakes, { compat, probeIntervalMs: 5 })
      const traffic = new Traffic(client, 'traffic', 8, 60)
      let down: (typeof fakes)[number] | undefined
      for (let round = 0; round < ROUNDS; round += 1) {
        // The first two stay, so that there is always one to answer.
        client.setServers([first, second, ...others.filter(() => random.next() < 0.6)])
        await traffic.more(Math.round(random.between(20, 400)))
        if (down === undefined) {
          down = random.pick(fakes.slice(1))
          await down.crash()
        } else {
          await down.listen()
          down = undefined
        }
        await traffic.more(Math.round(random.between(20, 400)))
      }
      const seen = await traffic.stop()
      expect(seen.stale, `seed ${random.seed}`).toEqual([])
      expect(seen.errors, `seed ${random.seed}`).toEqual([])
      expect(seen.hitCount).toBeGreaterThan(200)
      expect(client.status().evictionCount).toBeGreaterThan(0)
    },
  )
})

/** Of removed servers the client remembers so many. */
const REMEMBERED = 16

test('what the heir of a removed server kept stays old, also when that is forgotten while the heir returns', async () => {
  const fakes = await startFakes(3)
  const [home, other, gone] = fakes as [FakeMemcached, FakeMemcached, FakeMemcached]
  const names = [home.name, other.name]
  const client = await connect(fakes)
  const strangers = Array.from({ length: REMEMBERED + 1 }, (_, i) => `127.0.0.1:${i + 1}`)
  // A key of the one that goes whose heir is the same with and without the strangers.
  const later = ringOfNames([...names, ...strangers])
  const inherited = keysOf(fakes, 2, 2000).find((key) => later.owner(md5Point(key)) === 0) as string
  await gone.crash()
  await becomes(client, 2, 'dead')
  await client.set(inherited, 'old')
  expect(home.text(inherited)).toBe('old')
  await gone.listen()
  await becomes(client, 2, 'live')
  await client.set(inherited, 'new')
  client.setServers(names)
  await expect(client.get(inherited)).resolves.toBeUndefined()

  await home.crash()
  await becomes(client, 0, 'dead')
  await client.set(keysOf([home, other], 0, 1)[0] as string, 'on the heir')
  home.script = (command) => {
    if (command.startsWith('ms openstack-ha/mark')) home.freeze()
    return undefined
  }
  await home.listen()
  await expect.poll(() => home.heldCount).toBeGreaterThan(0)
  client.setServers([...names, ...strangers])
  client.setServers(names)
  home.script = undefined
  home.thaw()
  await becomes(client, 0, 'live')
  await expect(client.get(inherited)).resolves.toBeUndefined()
})
