import { afterAll, beforeAll, expect, test } from 'vitest'
import { heal, start, whole } from '../../cluster/index.js'
import { chaos, chaosViolations, MysqlScene, OurMysql } from '../../harness/index.js'

const CLIENT_ADDRESS = '127.0.9.12'
const WHOLE = { timeoutMs: 120_000 }

beforeAll(() => whole('galera', WHOLE))
afterAll(async () => {
  await heal('galera')
  await start('galera')
})

test('exactly-once transactions survive 30 s of random faults on all nodes: nothing is lost, doubled, stale or left unsettled', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const scene = new MysqlScene(new OurMysql('exactly-once', CLIENT_ADDRESS))
  const result = await chaos(scene, { seconds: 30, seed })
  const faults = result.faults.map(
    ({ fault, target, atMs, lastedMs }) => `${atMs} ms ${fault} ${target} ${lastedMs} ms`,
  )
  const context = `--seed ${seed}: ${[...faults, ...result.findings.examples, ...result.unhandled].join('; ')}`
  expect(chaosViolations(result), context).toEqual([])
  expect(result.faults.length, context).toBeGreaterThan(0)
  expect(result.acknowledged, context).toBeGreaterThan(0)
}, 400_000)
