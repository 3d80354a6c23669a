import { afterEach, describe, expect, test } from 'vitest'
import type { RingKind } from '../../src/memcached/index.js'
import { Random } from '../harness/random.js'
import { Traffic } from '../integration/memcached/traffic.js'
import { connect, endAll, startFakes } from './memcached-helpers.js'

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
