import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  createPool,
  type MysqlPool,
  type MysqlPoolOptions,
  type RowStream,
  StreamOpenError,
} from '../../../src/mysql/index.js'
import { freeze, heal, kill, nodes, start, thaw, whole } from '../../cluster/index.js'
import { adminSql, SQL_ACCOUNT } from '../../harness/index.js'

const hosts = nodes('galera').map(({ host }) => host)
const open = (options: MysqlPoolOptions = {}): MysqlPool => createPool({ env: {}, hosts, ...SQL_ACCOUNT, ...options })
const ROWS = 200_000
/** Far more than the sockets of both sides can hold. */
const BIG = `SELECT seq, REPEAT('x', 200) AS text FROM seq_1_to_${ROWS}`
const nodeOf = (host: string | undefined): number => hosts.indexOf(host?.split(':')[0] ?? '') + 1

let db: MysqlPool
beforeAll(async () => {
  await whole('galera')
  db = open()
  await db.ready()
})
afterAll(async () => {
  await db.close()
  await heal('galera')
  await start('galera')
  await whole('galera')
})

/** Reads some rows and stops in the middle, with the rest on its way. */
async function readSome(stream: RowStream<{ seq: number }>): Promise<void> {
  for await (const { seq } of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<{ seq: number }>) {
    if (seq === 100) return
  }
}

async function readAll(stream: AsyncIterable<unknown>): Promise<number> {
  let count = 0
  for await (const row of stream) count += Number(row !== undefined)
  return count
}

/** `once` of `node:events` would listen to the error as well. */
function closed(stream: RowStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) resolve()
    else stream.on('close', resolve)
  })
}

/** How the stream ended: the error's code, or what a stream that just ends would give. */
async function ending(stream: AsyncIterable<unknown>): Promise<unknown> {
  return readAll(stream).then(
    () => 'ended without an error',
    (error: unknown) => (error as { code?: unknown }).code,
  )
}

describe('a stream', () => {
  test('gives all rows in order, of the pool, a connection, a transaction and the reader', async () => {
    const sql = 'SELECT seq FROM seq_1_to_5000 WHERE seq <= ?'
    const connection = await db.getConnection()
    const inTransaction = db.transaction(async (tx) => {
      const seen: number[] = []
      for await (const { seq } of tx.stream<{ seq: number }>(sql, [2000])) seen.push(seq)
      await tx.query('SELECT 1')
      return seen
    })
    const collect = async (rows: RowStream<{ seq: number }>): Promise<number[]> =>
      (await rows.toArray()).map(({ seq }: { seq: number }) => seq)
    const all = await Promise.all([
      collect(db.stream(sql, [2000])),
      collect(connection.stream({ sql, values: [2000], highWaterMark: 1 })),
      collect(db.reader.stream({ sql, causal: true }, [2000])),
      inTransaction,
    ])
    connection.release()
    const expected = Array.from({ length: 2000 }, (_, i) => i + 1)
    for (const seen of all) expect(seen).toEqual(expected)
    expect(db.status().borrowed).toBe(0)
  })

  test('holds the server back while its reader is slow, and nobody suspects the node', async () => {
    const one = open({ suspectAfterMs: 50 })
    await one.ready()
    const writer = nodeOf(one.status().writer.host)
    const connection = await one.getConnection()
    const stream = connection.stream<{ seq: number }>(BIG)
    await readSome(stream)
    const state = async (): Promise<unknown> => {
      const sql = `SELECT STATE, TIME_MS FROM information_schema.PROCESSLIST WHERE ID = ${connection.threadId}`
      return (await adminSql(writer, sql))[0]?.['STATE']
    }
    await expect.poll(state, { timeout: 20_000 }).toBe('Writing to net')
    // Longer than many suspicions, were there a reason for one.
    const calls = new Set<number | undefined>()
    for (let i = 0; i < 20; i += 1) {
      calls.add(one.status().hosts[writer - 1]?.calls)
      await pause(20)
    }
    expect([...calls]).toEqual([0])
    expect(await state()).toBe('Writing to net')
    expect(stream.readableLength).toBeLessThanOrEqual(stream.readableHighWaterMark)
    expect(await readAll(stream)).toBe(ROWS - 100)
    connection.release()
    expect(one.status().hosts.map(({ lastError }) => lastError)).toEqual([undefined, undefined, undefined])
    await one.close()
  })

  test('fails with the server’s own error, and the connection goes on', async () => {
    await expect(readAll(db.stream('SELECT * FROM no_such_table'))).rejects.toMatchObject({ errno: 1146 })
    const connection = await db.getConnection()
    await expect(readAll(connection.stream('SELECT * FROM no_such_table'))).rejects.toMatchObject({ errno: 1146 })
    await expect(connection.query('SELECT 1 AS one')).resolves.toMatchObject([[{ one: 1 }], {}])
    connection.release()
  })

  test('that nobody listens to fails without ending the process, and tells it to who reads later', async () => {
    const stream = db.stream('SELECT * FROM no_such_table')
    await closed(stream)
    await expect(readAll(stream)).rejects.toMatchObject({ errno: 1146 })
  })

  test('ends at its limit, or with its signal, with that error', async () => {
    const late = db.stream<{ seq: number }>({ sql: BIG, timeoutMs: 300 })
    await readSome(late)
    expect(await ending(late)).toBe('HA_TIMEOUT')
    const controller = new AbortController()
    const aborted = db.stream<{ seq: number }>({ sql: BIG, signal: controller.signal })
    await readSome(aborted)
    controller.abort(new Error('changed my mind'))
    await expect(readAll(aborted)).rejects.toThrow('changed my mind')
    await expect.poll(() => db.status().borrowed).toBe(0)
  })

  test('whose connection is killed at the server fails, and fails over nothing', async () => {
    const connection = await db.getConnection()
    const stream = connection.stream<{ seq: number }>(BIG)
    await readSome(stream)
    await adminSql(nodeOf(connection.host), `KILL CONNECTION ${connection.threadId}`)
    expect(await ending(stream)).toBe('HA_CONNECTION_LOST')
    connection.release()
    expect(db.status().availability.failoverCount).toBe(0)
  })

  test('fails with a pool that is destroyed, and close waits for it', async () => {
    const one = open()
    const stream = one.stream<{ seq: number }>(BIG)
    await readSome(stream)
    const closed = one.close()
    const all = readAll(stream)
    await closed
    expect(await all).toBe(ROWS - 100)
    const other = open()
    const cut = other.stream<{ seq: number }>(BIG)
    await readSome(cut)
    other.destroy()
    expect(await ending(cut)).toBe('HA_CLOSED')
  })
})

describe('a reader that leaves a stream early', () => {
  test.each([
    ['a short result', 'SELECT seq FROM seq_1_to_300'],
    ['a long result', `SELECT SLEEP(0.001) AS z, seq FROM seq_1_to_100000`],
  ])('leaves a good pool behind: %s', async (_, sql) => {
    const one = open({ connectionLimit: 1 })
    for (let i = 0; i < 3; i += 1) {
      for await (const row of one.stream(sql)) {
        expect(row).toBeDefined()
        break
      }
      await expect(one.query('SELECT 1 AS one')).resolves.toMatchObject([[{ one: 1 }], {}])
    }
    await expect.poll(() => one.status().borrowed).toBe(0)
    await one.close()
  })

  test('before it has begun sends nothing and keeps nothing', async () => {
    const one = open({ connectionLimit: 1 })
    const held = await one.getConnection()
    const stream = one.stream('SELECT 1')
    stream.destroy()
    await expect.poll(() => one.status().waiting).toBe(0)
    held.release()
    await one.close()
  })

  test('in a transaction may go on with it; with too much left it ends, and is not run again', async () => {
    let runs = 0
    const firstOf = (sql: string) =>
      db.transaction(async (tx) => {
        runs += 1
        let first: unknown
        for await (const row of tx.stream(sql)) {
          first = row
          break
        }
        const [[after]] = await tx.query<[{ one: number }]>('SELECT 1 AS one')
        return [first, after.one]
      })
    await expect(firstOf('SELECT seq FROM seq_1_to_2000')).resolves.toEqual([{ seq: 1 }, 1])
    await expect(firstOf('SELECT SLEEP(0.001) AS z, seq FROM seq_1_to_100000')).rejects.toMatchObject({
      code: 'HA_TIMEOUT',
    })
    expect(runs).toBe(2)
  })
})

describe('a connection with an open stream', () => {
  test('refuses what would wait for its reader for ever', async () => {
    const body = db.transaction(async (tx) => {
      for await (const row of tx.stream(BIG)) await tx.query('SELECT ?', [row])
    })
    await expect(body).rejects.toBeInstanceOf(StreamOpenError)
    const forgotten = db.transaction((tx) => Promise.resolve(tx.stream(BIG)))
    await expect(forgotten).rejects.toBeInstanceOf(StreamOpenError)
    await expect.poll(() => db.status().borrowed).toBe(0)
  })
})

describe('a stream whose node', () => {
  test.each<['is killed' | 'freezes']>([['is killed'], ['freezes']])(
    '%s in the middle errors with our code, whether its reader waits or is slow',
    async (fault) => {
      const one = open({ probeIntervalMs: 200, passiveProbeIntervalMs: 200 })
      await one.ready()
      const n = nodeOf(one.status().writer.host)
      // One that waits for rows, one that is held back.
      const waiting = one.stream<{ seq: number }>('SELECT SLEEP(0.01) AS z, seq FROM seq_1_to_100000')
      const slow = one.stream<{ seq: number }>(BIG)
      await Promise.all([readSome(waiting), readSome(slow)])
      const ends = ending(waiting)
      if (fault === 'is killed') await kill('galera', n)
      else await freeze('galera', n)
      // A function that is not known to compute only may have written.
      expect(await ends).toBe('HA_OUTCOME_UNKNOWN')
      await closed(slow)
      expect(await ending(slow)).toBe('HA_CONNECTION_LOST')
      expect(await readAll(one.stream('SELECT seq FROM seq_1_to_1000'))).toBe(1000)
      if (fault === 'is killed') await start('galera', n)
      else await thaw('galera', n)
      await whole('galera')
      await one.close()
    },
  )
})
