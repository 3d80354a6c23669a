import { afterAll, beforeAll, expect, test } from 'vitest'
import { heal, start, whole } from '../../cluster/index.js'
import { AmqpScene, chaos, chaosViolations, OurAmqp } from '../../harness/index.js'

const CLIENTS = new URL('../../harness/subjects/amqp.ts', import.meta.url).href
const WHOLE = { timeoutMs: 120_000 }

beforeAll(() => whole('rabbit', WHOLE))
afterAll(async () => {
  await heal('rabbit')
  await start('rabbit')
})

test('a publisher and two processes that consume survive 30 s of random faults on all nodes: nothing is lost, handled twice by one process or left unsettled', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const scene = new AmqpScene(new OurAmqp(), { module: CLIENTS, client: 'ours', handlerMs: 20 })
  const result = await chaos(scene, { seconds: 30, seed })
  const faults = result.faults.map(
    ({ fault, target, atMs, lastedMs }) => `${atMs} ms ${fault} ${target} ${lastedMs} ms`,
  )
  const context = `--seed ${seed}: ${[...faults, ...result.findings.examples, ...result.unhandled].join('; ')}`
  expect(chaosViolations(result), context).toEqual([])
  expect(result.faults.length, context).toBeGreaterThan(0)
  expect(result.acknowledged, context).toBeGreaterThan(0)
}, 400_000)
