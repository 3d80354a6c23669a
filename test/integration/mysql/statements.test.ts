import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createPool, type MysqlPool, type MysqlPoolOptions, type ResultHeader } from '../../../src/mysql/index.js'
import { blackhole, heal, nodes } from '../../cluster/index.js'
import { adminSql, SQL_ACCOUNT } from '../../harness/index.js'
import { selfSigned } from '../../helpers/certificate.js'
import { kernelSockets } from '../../helpers/kernel.js'

const CLIENT_ADDRESS = '127.0.9.12'
const hosts = nodes('galera').map(({ host }) => host)
const table = `statements_${randomUUID().replaceAll('-', '').slice(0, 12)}`
const open = (options: MysqlPoolOptions = {}): MysqlPool => createPool({ env: {}, hosts, ...SQL_ACCOUNT, ...options })
const nodeOf = (host: string | undefined): number => hosts.indexOf(host?.split(':')[0] ?? '') + 1

let db: MysqlPool
beforeAll(async () => {
  db = open()
  await db.query(
    `CREATE TABLE ${table} (id INT PRIMARY KEY, name VARCHAR(40), at DATETIME(3), size DECIMAL(20, 4)) CHARSET utf8mb4`,
  )
})
afterAll(async () => {
  await db.query(`DROP TABLE ${table}`)
  await db.close()
})

/** What `ask` returns on a pool with these options. */
async function withPool<T>(options: MysqlPoolOptions, ask: (pool: MysqlPool) => Promise<T>): Promise<T> {
  const pool = open(options)
  try {
    return await ask(pool)
  } finally {
    await pool.close()
  }
}

describe('statements', () => {
  test('insert many rows at once, and take named placeholders as text, prepared, and streamed', async () => {
    const rows = [
      [1, 'one', '2026-01-02 03:04:05.678', '1.5000'],
      [2, 'zwölf ✓ 𝄞', '2026-07-02 03:04:05.678', '12345678901234.5678'],
    ]
    const [{ affectedRows }] = await db.query<ResultHeader>(`INSERT INTO ${table} (id, name, at, size) VALUES ?`, [
      rows,
    ])
    expect(affectedRows).toBe(2)
    await withPool({ namedPlaceholders: true }, async (pool) => {
      const sql = `SELECT id, name FROM ${table} WHERE id = :id AND name LIKE :name`
      const values = { id: 2, name: 'zw%' }
      const expected = [{ id: 2, name: 'zwölf ✓ 𝄞' }]
      await expect(pool.query(sql, values)).resolves.toMatchObject([expected, {}])
      await expect(pool.execute(sql, values)).resolves.toMatchObject([expected, {}])
      await expect(pool.stream(sql, values).toArray()).resolves.toEqual(expected)
      const inTransaction = pool.transaction(async (tx) => (await tx.execute(sql, values))[0])
      await expect(inTransaction).resolves.toEqual(expected)
    })
    const own = { sql: `SELECT id FROM ${table} WHERE id = :id`, values: { id: 1 }, namedPlaceholders: true }
    await expect(db.query(own)).resolves.toMatchObject([[{ id: 1 }], {}])
  })

  test('read values as the options say, of the pool or of one statement', async () => {
    const sql = `SELECT at, size FROM ${table} WHERE id = 1`
    const read = (options: MysqlPoolOptions) => withPool(options, async (pool) => (await pool.query(sql))[0][0])
    expect(await read({ dateStrings: true })).toEqual({ at: '2026-01-02 03:04:05.678', size: '1.5000' })
    expect(await read({ timezone: 'Z', decimalNumbers: true })).toEqual({
      at: new Date('2026-01-02T03:04:05.678Z'),
      size: 1.5,
    })
    expect(await read({ timezone: '+05:00' })).toMatchObject({ at: new Date('2026-01-01T22:04:05.678Z') })
    expect(await read({ rowsAsArray: true, dateStrings: true })).toEqual(['2026-01-02 03:04:05.678', '1.5000'])
    const upper = (field: { type: string; string: () => string | null }, next: () => unknown): unknown =>
      field.type === 'NEWDECIMAL' ? `~${field.string() ?? ''}` : next()
    expect(await read({ typeCast: upper, dateStrings: true })).toMatchObject({ size: '~1.5000' })
    const one = { sql, typeCast: upper, dateStrings: true }
    await expect(db.query(one)).resolves.toMatchObject([[{ at: '2026-01-02 03:04:05.678', size: '~1.5000' }], {}])
    await expect(db.stream(one).toArray()).resolves.toMatchObject([{ size: '~1.5000' }])
    await expect(db.query(sql)).resolves.toMatchObject([[{ size: '1.5000' }], {}])
  })

  test('are sent in the character set that was asked for', async () => {
    const sql = 'SELECT @@character_set_client AS client, @@collation_connection AS collation, ? AS text'
    await withPool({ charset: 'latin1_swedish_ci' }, async (pool) => {
      const [[row]] = await pool.query<[object]>(sql, ['zwölf'])
      expect(row).toEqual({ client: 'latin1', collation: 'latin1_swedish_ci', text: 'zwölf' })
    })
    await withPool({ charset: 'utf8mb4_bin' }, async (pool) => {
      const [[row]] = await pool.query<[object]>(sql, ['𝄞'])
      expect(row).toEqual({ client: 'utf8mb4', collation: 'utf8mb4_bin', text: '𝄞' })
    })
  })

  test('whose typeCast throws fail with its error, and the next caller gets an own answer', async () => {
    await withPool({ connectionLimit: 1 }, async (pool) => {
      const typeCast = (): never => {
        throw new RangeError('cannot read this')
      }
      const sql = 'SELECT seq, REPEAT("x", 200) AS text FROM seq_1_to_50000'
      await expect(pool.query({ sql, typeCast })).rejects.toThrow('cannot read this')
      await expect(pool.query('SELECT 1 AS one')).resolves.toMatchObject([[{ one: 1 }], {}])
      await expect(pool.stream({ sql, typeCast }).toArray()).rejects.toThrow('cannot read this')
      await expect(pool.query('SELECT 1 AS one')).resolves.toMatchObject([[{ one: 1 }], {}])
    })
  })
})

describe('under TLS', () => {
  const ssl = { ca: selfSigned().cert }

  test('the pool and its probes work, and a certificate that is not trusted is refused', async () => {
    await withPool({ ssl }, async (pool) => {
      const [[row]] = await pool.query<[Record<string, string>]>("SHOW SESSION STATUS LIKE 'Ssl_version'")
      expect(row['Value']).toMatch(/^TLS/)
      expect(await pool.stream('SELECT seq FROM seq_1_to_5000').toArray()).toHaveLength(5000)
    })
    const strict = open({ ssl: {} })
    await expect(strict.ready({ timeoutMs: 1500 })).rejects.toThrow(/self.signed certificate/)
    strict.destroy()
  })

  test('a connection that is cut leaves nothing in the kernel, and what runs on it rejects with our error', async () => {
    const one = open({ ssl, localAddress: CLIENT_ADDRESS, failbackDelayMs: 0 })
    const connection = await one.getConnection()
    const n = nodeOf(connection.host)
    const sql = `SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = ${connection.threadId}`
    const ports = { local: Number(String((await adminSql(n, sql))[0]?.['HOST']).split(':')[1]), remote: 3306 }
    expect(kernelSockets(ports)).toMatchObject([{ state: 'ESTABLISHED' }])
    await blackhole('galera', n, { from: CLIENT_ADDRESS })
    try {
      const text = 'x'.repeat(1_000_000)
      const statement = { sql: `INSERT INTO ${table} (id, name) VALUES (99, LEFT(?, 5))`, values: [text] }
      const lost = connection.query({ ...statement, timeoutMs: 400 })
      lost.catch(() => undefined)
      await expect.poll(() => kernelSockets(ports)[0]?.sendQueue ?? 0, { interval: 5 }).toBeGreaterThan(100_000)
      await expect(lost).rejects.toMatchObject({ code: 'HA_TIMEOUT' })
      await expect
        .poll(() => kernelSockets(ports).map(({ sendQueue }) => sendQueue), { timeout: 5000 })
        .toSatisfy((queues: readonly number[]) => queues.every((queue) => queue === 0))
      connection.release()
    } finally {
      await heal('galera')
    }
    // Had the kernel kept it, the insert would arrive now.
    await one.ready()
    const [rows] = await db.query<object[]>(`SELECT id FROM ${table} WHERE id = 99`)
    expect(rows).toEqual([])
    one.destroy()
  })
})
