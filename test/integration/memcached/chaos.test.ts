import { afterAll, beforeAll, expect, test } from 'vitest'
import { heal, start, whole } from '../../cluster/index.js'
import { chaos, memcachedChaosScene, memcachedChaosViolations } from '../../harness/index.js'

const CLIENT_ADDRESS = '127.0.9.13'

beforeAll(() => whole('memcached'))
afterAll(async () => {
  await heal('memcached')
  await start('memcached')
})

test('the cache survives 30 s of random faults on all nodes: nothing stale, wrong or unsettled, and it finds what a client without protection finds', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const result = await chaos(memcachedChaosScene(CLIENT_ADDRESS), { seconds: 30, seed })
  const { notes, examples } = result.findings
  const faults = result.faults.map(
    ({ fault, target, atMs, lastedMs }) => `${atMs} ms ${fault} ${target} ${lastedMs} ms`,
  )
  const counts = JSON.stringify({ ...notes, errors: result.errors })
  const context = `--seed ${seed}: ${[counts, ...examples, ...faults, ...result.unhandled].join('; ')}`
  expect(memcachedChaosViolations(result), context).toEqual([])
  expect(notes['hits'], context).toBeGreaterThan(1000)
}, 200_000)
