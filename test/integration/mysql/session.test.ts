import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  createPool,
  type LeakEvent,
  type MysqlPool,
  type MysqlPoolOptions,
  type NewConnection,
  type Transaction,
} from '../../../src/mysql/index.js'
import { nodes } from '../../cluster/index.js'
import { killSql } from '../../../src/mysql/killer.js'
import { adminSql, connectSql, SQL_ACCOUNT } from '../../harness/index.js'

const hosts = nodes('galera').map(({ host }) => host)
const table = `session_${randomUUID().replaceAll('-', '').slice(0, 12)}`
const open = (options: MysqlPoolOptions = {}): MysqlPool => createPool({ env: {}, hosts, ...SQL_ACCOUNT, ...options })
const nodeOf = (host: string | undefined): number => hosts.indexOf(host?.split(':')[0] ?? '') + 1

/** Never looks whether its client is there still, as SLEEP does every 5 s. */
const ENDLESS = 'SELECT COUNT(*) FROM seq_1_to_1000000 a, seq_1_to_1000000 b WHERE a.seq + b.seq = 0'

let db: MysqlPool
beforeAll(async () => {
  db = open()
  await db.ready()
  await db.query(`CREATE TABLE ${table} (id INT PRIMARY KEY, n INT NOT NULL)`)
  await db.query(`INSERT INTO ${table} VALUES (1, 10), (2, 20)`)
})
afterAll(async () => {
  await db.query(`DROP TABLE ${table}`)
  await db.close()
})

describe('session set-up', () => {
  test('runs initSql and then onConnection on connections of every node, before anybody gets them', async () => {
    const seen = new Set<string>()
    const one = open({
      initSql: ["SET @first = 'a'", 'SET SESSION lock_wait_timeout = 77'],
      onConnection: async (connection) => {
        const [[row]] = await connection.execute<[{ first: string }]>('SELECT @first AS first')
        await connection.query('SET @second = CONCAT(?, ?)', [row.first, String(connection.threadId)])
        seen.add(connection.host)
      },
    })
    await one.ready()
    const connections = await Promise.all([
      one.getConnection(),
      ...Array.from({ length: 9 }, () => one.reader.getConnection()),
    ])
    for (const connection of connections) {
      const [[row]] = await connection.query<[object]>('SELECT @second AS second, @@lock_wait_timeout AS wait')
      expect(row).toEqual({ second: `a${connection.threadId}`, wait: 77 })
      connection.release()
    }
    expect([...seen].sort()).toEqual(hosts.map((host) => `${host}:3306`))
    await one.close()
  })

  test('that failed says so to who waits, is not repeated in a hot loop, and is used as soon as it works', async () => {
    let calls = 0
    let isBroken = true
    const one = open({
      hosts: hosts.slice(0, 1),
      onConnection: () => {
        calls += 1
        if (isBroken) throw new RangeError('no such tenant')
      },
    })
    const error: unknown = await one.ready({ timeoutMs: 1500 }).catch((cause: unknown) => cause)
    expect(error).toMatchObject({ code: 'HA_TIMEOUT', phase: 'ready' })
    expect(String(error)).toMatch(/onConnection failed on a new connection to 127\.0\.1\.1:3306: no such tenant/)
    // The pause doubles from 50 ms to 1 s.
    expect(calls).toBeLessThan(15)
    isBroken = false
    await one.ready()
    await expect(one.query('SELECT 1 AS one')).resolves.toMatchObject([[{ one: 1 }], {}])
    await one.close()
  })

  test.each<[string, MysqlPoolOptions, string, RegExp]>([
    ['a statement', { initSql: 'SET no_such_variable = 1' }, 'HA_SESSION_SETUP', /initSql .* Unknown system variable/],
    [
      'a hook that hangs',
      { onConnection: () => new Promise(() => undefined), connectTimeoutMs: 300 },
      'HA_SESSION_SETUP',
      /onConnection .* connect timed out/,
    ],
    [
      'a statement that hangs',
      { initSql: 'DO SLEEP(60)', connectTimeoutMs: 300 },
      'HA_SESSION_SETUP',
      /initSql .* connect timed out/,
    ],
  ])('that cannot succeed fails within its limit: %s', async (_, options, code, message) => {
    const one = open({ failoverTimeoutMs: 1500, ...options })
    const error: unknown = await one.query('SELECT 1').catch((cause: unknown) => cause)
    expect(error).toMatchObject({ code: 'HA_NO_WRITER', cause: { code } })
    expect(String(error)).toMatch(message)
    one.destroy()
  })

  test('hands out a connection that is of no use after the hook', async () => {
    let kept: NewConnection | undefined
    const one = open({ onConnection: (connection) => void (kept = connection) })
    await one.query('SELECT 1')
    await expect(kept?.query('SELECT 1')).rejects.toMatchObject({ code: 'HA_CLOSED' })
    await one.close()
  })
})

describe('a statement whose caller gave up', () => {
  test.each<[string, () => { limits: object; end: () => void }]>([
    ['by its limit', () => ({ limits: { timeoutMs: 300 }, end: () => undefined })],
    [
      'by its signal',
      () => {
        const controller = new AbortController()
        const end = (): void => controller.abort(new Error('changed my mind'))
        return { limits: { signal: controller.signal }, end: () => setTimeout(end, 300) }
      },
    ],
  ])('%s is killed on its node, and its locks are free', async (_, make) => {
    const { limits, end } = make()
    const holder = db.transaction(async (tx) => {
      await tx.query(`SELECT n FROM ${table} WHERE id = 1 FOR UPDATE`)
      end()
      await tx.query({ sql: ENDLESS, ...limits })
    })
    await expect(holder).rejects.toThrow()
    const startedAt = performance.now()
    await db.transaction((tx) => tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = 1`), { timeoutMs: 40_000 })
    // Without a kill it would wait for minutes.
    expect(performance.now() - startedAt).toBeLessThan(20_000)
  })

  test('is not killed when the id belongs to another connection by now', async () => {
    const connection = await db.getConnection()
    const writer = nodeOf(connection.host)
    const { threadId } = connection
    const [row] = await adminSql(writer, `SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = ${threadId}`)
    const localPort = Number(String(row?.['HOST']).split(':')[1])
    const victim = { threadId, localPort: localPort + 1, memberId: undefined, isMariaDb: true }
    const killer = await connectSql(writer, SQL_ACCOUNT, { multipleStatements: true })
    // What a restarted server would show: the id of the victim, at another port.
    await killer.query(killSql(victim))
    await killer.query(killSql({ ...victim, memberId: 'another' }))
    await expect(connection.query('SELECT 1 AS one')).resolves.toMatchObject([[{ one: 1 }], {}])
    const [id] = await adminSql(writer, `SHOW STATUS LIKE 'wsrep_gcomm_uuid'`)
    // Behind a proxy the port is the proxy's.
    await killer.query(killSql({ ...victim, memberId: String(id?.['Value']) }))
    await expect(connection.query('SELECT 1')).rejects.toMatchObject({ code: 'HA_CONNECTION_LOST' })
    killer.destroy()
    connection.release()
  })
})

describe('the causal reader', () => {
  test('reads on every node what this process wrote a moment ago', async () => {
    const seen = new Set<string>()
    for (let i = 1; i <= 60; i += 1) {
      await db.query(`UPDATE ${table} SET n = ? WHERE id = 2`, [i])
      const causal = await Promise.all(
        Array.from({ length: 3 }, () =>
          db.reader.query<[{ n: number; host: string }]>({
            sql: `SELECT n, @@bind_address AS host FROM ${table} WHERE id = ?`,
            values: [2],
            causal: true,
          }),
        ),
      )
      for (const [[{ n, host }]] of causal) {
        expect(n).toBe(i)
        seen.add(host)
      }
    }
    expect([...seen].sort()).toEqual(hosts)
  })

  test('leaves the session as it was, prepared too', async () => {
    const one = open({ hosts: hosts.slice(1, 2), connectionLimit: 1, wsrepSyncWait: 4 })
    const sql = 'SELECT @@wsrep_sync_wait AS wait, ? AS given'
    await expect(one.reader.execute({ sql, values: [7], causal: true })).resolves.toMatchObject([
      [{ wait: 1, given: 7 }],
      {},
    ])
    await expect(one.reader.query(sql, [7])).resolves.toMatchObject([[{ wait: 4, given: 7 }], {}])
    await one.close()
  })
})

describe('a checkout', () => {
  test('that is held for too long is reported once, with who borrowed it', async () => {
    const one = open({ leakDetectionMs: 100 })
    await one.ready()
    const leaks: LeakEvent[] = []
    one.on('leak', (leak) => leaks.push(leak))
    await one.query('SELECT 1')
    const borrower = async (): Promise<{ release: () => void }> => one.getConnection()
    const connection = await borrower()
    await expect.poll(() => leaks.length).toBe(1)
    expect(leaks[0]).toMatchObject({ host: one.status().writer.host })
    expect(leaks[0]?.heldMs).toBeGreaterThanOrEqual(95)
    expect(leaks[0]?.stack).toMatch(/borrower.*session\.test\.ts/)
    const inTransaction = function ofTransaction(): Promise<unknown> {
      return one.transaction((tx: Transaction) => tx.query('SELECT SLEEP(0.3)'))
    }
    await inTransaction()
    expect(leaks.length).toBe(2)
    expect(leaks[1]?.stack).toMatch(/ofTransaction/)
    connection.release()
    await one.close()
  })

  test('that is refused by the server says so when its caller has waited long enough', async () => {
    const user = `few_${randomUUID().slice(0, 8)}`
    // One for the probe, one for the pool.
    await adminSql(
      1,
      `CREATE USER '${user}'@'%' IDENTIFIED BY '${SQL_ACCOUNT.password}' WITH MAX_USER_CONNECTIONS 2`,
      `GRANT SELECT ON ha_test.* TO '${user}'@'%'`,
    )
    const one = open({ user, acquireTimeoutMs: 1000 })
    try {
      const held = await one.getConnection({ timeoutMs: 20_000 })
      const error: unknown = await one.getConnection().catch((cause: unknown) => cause)
      expect(error).toMatchObject({ code: 'HA_TIMEOUT', phase: 'acquire', cause: { errno: 1226 } })
      expect(String(error)).toMatch(/borrowed=1 .*waiting=\d/)
      held.release()
    } finally {
      await one.close()
      await adminSql(1, `DROP USER '${user}'@'%'`)
    }
  })
})

describe('what a transaction’s function asks of the pool', () => {
  test('goes to the node of the transaction, also a transaction inside', async () => {
    const one = open({ followTransactions: true })
    const seen = await one.transaction(async (tx) => {
      const connection = await one.getConnection()
      connection.release()
      const [[row]] = await one.query<[{ host: string }]>('SELECT CONCAT(@@bind_address, ":3306") AS host')
      return [tx.host, connection.host, row.host, await one.transaction((inner) => Promise.resolve(inner.host))]
    })
    expect(new Set(seen).size).toBe(1)
    await one.close()
  })

  test('never goes to another writer: when the writer changes meanwhile the function is run again there', async () => {
    const one = open({ followTransactions: true, user: 'ha_dml', probeIntervalMs: 200, passiveProbeIntervalMs: 200 })
    await one.ready()
    const before = one.status().writer.host as string
    const isLeft = (): boolean => one.status().writer.host !== before || one.status().writer.state !== 'serving'
    const runs: { readonly host: string; readonly beside: string }[] = []
    const errors: unknown[] = []
    try {
      await one.transaction(async (tx) => {
        await tx.query(`SELECT n FROM ${table} WHERE id = 1`)
        if (tx.host === before) {
          await adminSql(nodeOf(before), 'SET GLOBAL read_only = 1')
          await expect.poll(isLeft, { timeout: 20_000 }).toBe(true)
        }
        const connection = await one.getConnection().catch((error: unknown) => {
          errors.push(error)
          throw error
        })
        runs.push({ host: tx.host, beside: connection.host })
        connection.release()
      })
    } finally {
      await adminSql(nodeOf(before), 'SET GLOBAL read_only = 0')
    }
    expect(errors).toMatchObject([{ code: 'HA_CONNECTION_LOST', safeToRetry: true }])
    expect(runs.length).toBe(1)
    expect(runs[0]?.host).not.toBe(before)
    expect(runs[0]?.beside).toBe(runs[0]?.host)
    await one.close()
  })

  test('is refused when it could never be had, and says why when it was not', async () => {
    const single = open({ followTransactions: true, connectionLimit: 1 })
    const nested = single.transaction(() => single.query('SELECT 1'))
    await expect(nested).rejects.toMatchObject({ code: 'HA_INVALID_OPTION', option: 'connectionLimit' })
    await single.close()
    const pair = open({ followTransactions: true, connectionLimit: 2, acquireTimeoutMs: 500 })
    await pair.ready()
    let inside = 0
    const crossed = Array.from({ length: 2 }, () =>
      pair.transaction(async () => {
        inside += 1
        await expect.poll(() => inside).toBe(2)
        return pair.query('SELECT 1')
      }),
    )
    const results = await Promise.allSettled(crossed)
    const [first] = results.filter((result) => result.status === 'rejected')
    expect(first?.reason).toMatchObject({ code: 'HA_TIMEOUT', phase: 'acquire', cause: { code: 'HA_TIMEOUT' } })
    expect(String(first?.reason)).toMatch(/inside a transaction/)
    await pair.close()
  })

  test('after the function has ended is like anything else', async () => {
    let later: Promise<string> | undefined
    let go = (): void => undefined
    const gone = new Promise<void>((resolve) => (go = resolve))
    const single = open({ followTransactions: true, connectionLimit: 1 })
    await single.transaction(async () => {
      later = gone.then(async () => (await single.getConnection()).host)
      await Promise.resolve()
    })
    go()
    expect(await later).toBe(single.status().writer.host)
    single.destroy()
  })
})
