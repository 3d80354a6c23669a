/** The ORMs on our pool, on the real cluster: what they do every day, and what their callers see when the writer is lost. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConnectionLostError, isHAError } from '../../../src/mysql/index.js'
import { freeze, heal, kill, nodes, start, thaw, whole } from '../../cluster/index.js'
import { adminSql, until, within } from '../../harness/index.js'
import { DrizzleSubject } from './drizzle.js'
import { KnexSubject } from './knex.js'
import { KyselySubject } from './kysely.js'
import { SequelizeSubject } from './sequelize.js'
import type { OrmSubject } from './subject.js'
import { TypeormSubject } from './typeorm.js'

const hosts = nodes('galera').map(({ host }) => host)
const SUBJECTS: readonly (() => OrmSubject)[] = [
  () => new KyselySubject(),
  () => new DrizzleSubject(),
  () => new KnexSubject(),
  () => new TypeormSubject(),
  () => new SequelizeSubject(),
]
/** Of each ORM. */
const WORKERS = 4
const LIMIT_MS = 60_000

const writerOf = ({ pool }: OrmSubject): number => hosts.indexOf(pool.status().writer.host?.split(':')[0] ?? '') + 1

afterAll(async () => {
  await heal('galera')
  await start('galera')
  await whole('galera')
})

describe.each(SUBJECTS.map((make) => [make().name, make] as const))('%s', (name, make) => {
  const table = `orm_${name.toLowerCase()}_${process.pid}`
  let orm: OrmSubject
  let nextId = 1000

  beforeAll(async () => {
    await whole('galera')
    orm = make()
    await orm.open(table)
  })
  afterAll(async () => {
    await orm.close()
    await heal('galera')
    await start('galera')
    await whole('galera')
    await adminSql(1, `DROP TABLE IF EXISTS ${table}, ${table}_m, ${table}_l`)
  })

  test('inserts and reads back', async () => {
    await orm.insert(1, "it's one")
    await expect(orm.text(1)).resolves.toBe("it's one")
    await expect(orm.text(2)).resolves.toBeUndefined()
  })

  test('commits a transaction, and rolls one back that throws', async () => {
    await orm.inTransaction(10, () => Promise.resolve())
    await expect(orm.text(10)).resolves.toBe('done')
    const reason = new Error('not this one')
    await expect(orm.inTransaction(11, () => Promise.reject(reason))).rejects.toBe(reason)
    await expect(orm.text(11)).resolves.toBeUndefined()
  })

  test('runs a transaction of the pool, and nothing of one that throws stays', async () => {
    await orm.exactlyOnce(20)
    await expect(orm.text(20)).resolves.toBe('done')
    const reason = new Error('not this one')
    await expect(orm.retried(21, () => Promise.reject(reason))).rejects.toBe(reason)
    await expect(orm.text(21)).resolves.toBeUndefined()
  })

  test('reads elsewhere in its own way, and writes on the writer', async () => {
    const many = <T>(ask: () => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: 16 }, ask))
    const writer = orm.pool.status().writer.host?.split(':')[0]
    expect(new Set(await many(() => orm.writingHost()))).toEqual(new Set([writer]))
    // The least busy node answers: side by side they cannot all be on one.
    expect(new Set(await many(() => orm.readingHost())).size).toBeGreaterThan(1)
  })

  test('streams', async () => {
    if (orm.streamIds === undefined) return
    for (let id = 100; id < 200; id += 1) await orm.insert(id, 'streamed')
    const ids: number[] = []
    for await (const id of orm.streamIds()) ids.push(id)
    expect(ids.filter((id) => id >= 100 && id < 200)).toEqual(Array.from({ length: 100 }, (_, i) => 100 + i))
  })

  test('cancels a statement on the node that runs it', async () => {
    if (orm.cancel === undefined) return
    const startedAt = performance.now()
    const error = await within(LIMIT_MS, 'the cancelled statement', orm.cancel(20, 300))
    expect(error).toBeDefined()
    const running =
      "SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SLEEP(20)%' AND ID <> CONNECTION_ID()"
    await until(
      'the statement is gone',
      LIMIT_MS,
      async () => Number((await adminSql(writerOf(orm), running))[0]?.['n']) === 0,
    )
    expect(performance.now() - startedAt).toBeLessThan(15_000)
    await expect(orm.text(1)).resolves.toBe("it's one")
  })

  test('runs a transaction again that was cut, and tells who runs one by itself why it was cut', async () => {
    const own = (nextId += 1)
    const retried = (nextId += 1)
    let runs = 0
    let error: unknown
    const n = writerOf(orm)
    const cutting = async (): Promise<void> => {
      runs += 1
      if (runs > 1) return
      error = await orm
        .inTransaction(own, () => kill('galera', n))
        .then(
          () => undefined,
          (reason: unknown) => reason,
        )
    }
    await within(LIMIT_MS, 'the transaction that is run again', orm.retried(retried, cutting))
    expect(runs).toBe(2)
    expect(orm.original(error)).toBeInstanceOf(ConnectionLostError)
    expect(isHAError(orm.original(error))).toBe(true)
    await expect(orm.text(retried)).resolves.toBe('done')
    await expect(orm.text(own)).resolves.toBeUndefined()
    expect(writerOf(orm)).not.toBe(n)
    await start('galera', n)
    await whole('galera')
  })
})

/** What one ORM came to while the writer was lost. */
interface Work {
  readonly orm: OrmSubject
  readonly table: string
  readonly acknowledged: number[]
  readonly errors: unknown[]
}

describe('all of them at once', () => {
  const works: Work[] = SUBJECTS.map((make) => {
    const orm = make()
    return { orm, table: `orms_${orm.name.toLowerCase()}_${process.pid}`, acknowledged: [], errors: [] }
  })
  let nextId = 1000

  beforeAll(async () => {
    await whole('galera')
    await Promise.all(works.map(({ orm, table }) => orm.open(table)))
  })
  afterAll(async () => {
    await Promise.all(works.map(({ orm }) => orm.close()))
    await heal('galera')
    await start('galera')
    await whole('galera')
    const tables = works.flatMap(({ table }) => [table, `${table}_m`, `${table}_l`])
    await adminSql(1, `DROP TABLE IF EXISTS ${tables.join(', ')}`)
  })

  const more = (what: string): Promise<void> => {
    const wanted = works.map(({ acknowledged }) => acknowledged.length + 30)
    const isDone = (): boolean => works.every(({ acknowledged }, i) => acknowledged.length >= (wanted[i] ?? 0))
    return until(what, LIMIT_MS, isDone)
  }

  test.each(['kill', 'freeze'] as const)(
    'lose nothing and do nothing twice when the writer is lost: %s',
    async (fault) => {
      let isOver = false
      const work = async ({ orm, acknowledged, errors }: Work): Promise<void> => {
        while (!isOver) {
          const id = (nextId += 1)
          await orm.exactlyOnce(id).then(
            () => acknowledged.push(id),
            (error: unknown) => errors.push(error),
          )
        }
      }
      const workers = works.flatMap((each) => Array.from({ length: WORKERS }, () => work(each)))
      await more('work goes on')
      const [{ orm: one } = { orm: undefined }] = works
      const n = writerOf(one as OrmSubject)
      await (fault === 'kill' ? kill('galera', n) : freeze('galera', n))
      await more('work goes on after the fault')
      isOver = true
      await within(LIMIT_MS, 'the end of the work', Promise.all(workers))
      for (const { orm, table, acknowledged, errors } of works) {
        expect([orm.name, errors]).toEqual([orm.name, []])
        expect(writerOf(orm)).not.toBe(n)
        const [rows] = await orm.pool.query<{ id: number; text: string }[]>(`SELECT id, text FROM ${table}`)
        expect(rows.map(({ id }) => id)).toEqual(expect.arrayContaining(acknowledged))
        expect(rows.every(({ text }) => text === 'done')).toBe(true)
      }
      if (fault === 'freeze') await thaw('galera', n)
      await start('galera')
      await whole('galera')
    },
  )
})
