import { afterAll, beforeEach, expect, test } from 'vitest'
import { createPool } from '../../../src/mysql/index.js'
import { freeze, heal, kill, nodes, start, whole } from '../../cluster/index.js'
import { SQL_ACCOUNT } from '../../harness/index.js'

const hosts = nodes('galera').map(({ host }) => host)

const SLOW_READ = `SELECT VARIABLE_VALUE AS host, SLEEP(0.02) FROM information_schema.GLOBAL_VARIABLES
  WHERE VARIABLE_NAME = 'BIND_ADDRESS'`

const mend = async (): Promise<void> => {
  await heal('galera')
  await start('galera')
  await whole('galera')
}
beforeEach(mend)
afterAll(mend)

test.each<['is killed' | 'freezes']>([['is killed'], ['freezes']])(
  'reads go on without an error while a passive node %s under them',
  async (fault) => {
    const db = createPool({ env: {}, hosts, ...SQL_ACCOUNT })
    await db.ready()
    const victim = hosts.findIndex((host) => db.status().writer.host !== `${host}:3306`) + 1
    const name = `${hosts[victim - 1] ?? ''}:3306`
    const served = new Map<string, number>()
    const errors: unknown[] = []
    let isOver = false
    const read = async (): Promise<void> => {
      while (!isOver) {
        const [[row]] = await db.reader.query<[{ host: string }]>({ sql: SLOW_READ, timeoutMs: 20_000 })
        served.set(row.host, (served.get(row.host) ?? 0) + 1)
      }
    }
    const readers = Array.from({ length: 6 }, () => read().catch((error: unknown) => errors.push(error)))
    const runningThere = (): number => db.status().hosts.find(({ host }) => host === name)?.calls ?? 0
    await expect.poll(() => [...served.keys()].sort(), { timeout: 20_000 }).toEqual(hosts)
    // In the middle of a read, so that one is lost for sure.
    await expect.poll(runningThere, { timeout: 20_000, interval: 1 }).toBeGreaterThan(0)
    if (fault === 'is killed') await kill('galera', victim)
    else await freeze('galera', victim)
    const state = (): string | undefined => db.status().hosts.find(({ host }) => host === name)?.state
    await expect.poll(state, { timeout: 20_000 }).toBe('down')
    const before = [...served.values()].reduce((a, b) => a + b)
    await expect
      .poll(() => [...served.values()].reduce((a, b) => a + b), { timeout: 20_000 })
      .toBeGreaterThan(before + 50)
    isOver = true
    await Promise.all(readers)
    expect(errors).toEqual([])
    expect(db.status().availability.failoverCount).toBe(0)
    await db.close()
  },
)
