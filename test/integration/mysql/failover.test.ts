import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { heal, start, whole } from '../../cluster/index.js'
import { measure, MysqlScene, OurMysql, violations, type FaultName, type MysqlMode } from '../../harness/index.js'

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
