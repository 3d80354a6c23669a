import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createPool } from '../../../src/mysql/index.js'
import { heal, kill, nodes, start, whole } from '../../cluster/index.js'
import {
  measure,
  MysqlScene,
  OurMysql,
  SQL_ACCOUNT,
  violations,
  type FaultName,
  type MysqlMode,
} from '../../harness/index.js'

const CLIENT_ADDRESS = '127.0.9.11'
const WHOLE = { timeoutMs: 120_000 }

beforeAll(() => whole('galera', WHOLE))
afterAll(async () => {
  await heal('galera')
  await start('galera')
})

describe('a pool under traffic', () => {
  test.each<[FaultName, MysqlMode]>([
    ['kill', 'transaction'],
    ['freeze', 'transaction'],
    ['blackhole', 'transaction'],
    ['kill', 'query'],
  ])(
    'survives %s of its writer (%s): nothing hangs, nothing acknowledged is lost or doubled, service is back',
    async (fault, mode) => {
      const subject = new OurMysql(mode, CLIENT_ADDRESS)
      const result = await measure(new MysqlScene(subject), { fault, seconds: 12, warmMs: 1500 })
      expect(result.evidence).toMatchObject({ hasBitten: true })
      expect(violations(result)).toEqual([])
      expect(result.main.gap.hasRecovered).toBe(true)
      // The answer to a COMMIT or a write may be lost with the node: that is said, and nothing else may fail.
      expect(Object.keys(result.main.errors).filter((code) => code !== 'HA_OUTCOME_UNKNOWN')).toEqual([])
      expect(result.sides['reads']?.errors).toEqual({})
      expect(result.failovers.length).toBeGreaterThanOrEqual(1)
      await whole('galera', WHOLE)
    },
  )
})

test('a quiet pool goes back to the preferred node once that is old enough, and not before', async () => {
  const failbackDelayMs = 3000
  const hosts = nodes('galera').map(({ host }) => host)
  const db = createPool({
    env: {},
    hosts,
    ...SQL_ACCOUNT,
    failbackDelayMs,
    probeIntervalMs: 300,
    passiveProbeIntervalMs: 300,
  })
  await db.ready()
  const [first, second] = db.status().hosts.map(({ host }) => host)
  expect(db.status().writer.host).toBe(first)
  const changes: { readonly to: string | undefined; readonly at: number }[] = []
  db.on('failover', ({ to }) => changes.push({ to, at: performance.now() }))
  let backAt = Infinity
  db.on('hostUp', ({ host }) => {
    if (host === first) backAt = Math.min(backAt, performance.now())
  })
  await kill('galera', 1)
  await expect.poll(() => changes[0]?.to, { timeout: 30_000 }).toBe(second)
  await start('galera', 1)
  // By way of the third when the second is chosen to be the donor.
  await expect.poll(() => changes.at(-1)?.to, { timeout: 60_000 }).toBe(first)
  expect((changes.at(-1)?.at ?? 0) - backAt).toBeGreaterThan(failbackDelayMs - 100)
  await expect(db.query('SELECT 1 AS one')).resolves.toMatchObject([[{ one: 1 }], {}])
  await db.close()
})
