import { afterAll, beforeAll, expect, test } from 'vitest'
import { heal, start, whole } from '../../cluster/index.js'
import { chaos, chaosViolations, memcachedChaosScene } from '../../harness/index.js'

const CLIENT_ADDRESS = '127.0.9.13'
/** Longer than by default, because the machine that runs the cluster runs the tests too. `npm run chaos` is strict. */
const RELAXED = { operationTimeoutMs: 500, allowanceMs: 1500 }
const MAX_HITS_LOST = 10

beforeAll(() => whole('memcached'))
afterAll(async () => {
  await heal('memcached')
  await start('memcached')
})

test('the cache survives 30 s of random faults on all nodes: nothing stale, wrong or unsettled, no error, and about as many hits as without protection', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const result = await chaos(memcachedChaosScene(CLIENT_ADDRESS, RELAXED), { seconds: 30, seed })
  const { notes, examples } = result.findings
  const faults = result.faults.map(
    ({ fault, target, atMs, lastedMs }) => `${atMs} ms ${fault} ${target} ${lastedMs} ms`,
  )
  const counts = JSON.stringify({ ...notes, errors: result.errors })
  const context = `--seed ${seed}: ${[counts, ...examples, ...faults, ...result.unhandled].join('; ')}`
  const { hits = 0, evictions = 0, hitPercent = 0, rivalHitPercent = 100 } = notes
  expect(chaosViolations(result), context).toEqual([])
  expect(result.errors, context).toEqual({})
  expect(evictions, context).toBeGreaterThan(3)
  expect(hits, context).toBeGreaterThan(1000)
  expect(rivalHitPercent - hitPercent, context).toBeLessThan(MAX_HITS_LOST)
}, 200_000)
