import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createPool, type MysqlPool, type MysqlPoolOptions, type Transaction } from '../../src/mysql/index.js'
import { PROBE_SQL } from '../../src/mysql/galera.js'
import { sleep, within } from '../harness/timing.js'
import { FakeMysql, type FakeSession } from './fake-mysql.js'

const SETTLED_WITHIN_MS = 15_000
const WITHIN = { timeout: SETTLED_WITHIN_MS }

let fakes: FakeMysql[]
let pools: MysqlPool[]
let addresses: VirtualAddress[]
let fake: FakeMysql

beforeEach(async () => {
  fakes = []
  pools = []
  addresses = []
  fake = await server()
})

afterEach(async () => {
  for (const db of pools) db.destroy()
  for (const address of addresses) address.close()
  await Promise.all(fakes.map((each) => each.close()))
})

async function server(): Promise<FakeMysql> {
  const started = await FakeMysql.start()
  started.globals.status['wsrep_gcomm_uuid'] = `member-${fakes.length}`
  fakes.push(started)
  return started
}

async function ready(options: MysqlPoolOptions = {}): Promise<MysqlPool> {
  const hosts = fakes.map(({ name }) => name)
  const db = createPool({ env: {}, user: 'u', password: 'p', database: 'd', hosts, ...options })
  pools.push(db)
  await db.ready({ timeoutMs: SETTLED_WITHIN_MS })
  // Every host was heard: no probe of the beginning comes into what is counted.
  await vi.waitFor(() => expect(db.status().hosts.every(({ state }) => state === 'up')).toBe(true), WITHIN)
  return db
}

const settles = <T>(work: Promise<T>): Promise<T> => within(SETTLED_WITHIN_MS, 'the call', work)

/** Keeps its connections and accepts more, and says nothing any more: as a stopped process. */
function freeze(frozen: FakeMysql): void {
  for (const { socket } of frozen.sessions) socket.pause()
  frozen.onConnection = () => true
}

/** A virtual address: new connections lead to `target`, old ones stay where they are. */
class VirtualAddress {
  target: FakeMysql
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(target: FakeMysql) {
    this.target = target
    this.#server = createServer((socket) => this.#serve(socket))
  }

  static async open(target: FakeMysql): Promise<VirtualAddress> {
    const address = new VirtualAddress(target)
    addresses.push(address)
    address.#server.listen(0, '127.0.0.1')
    await once(address.#server, 'listening')
    return address
  }

  get name(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #serve(socket: Socket): void {
    const [host, port] = this.target.name.split(':')
    const onward = connect(Number(port), host)
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      this.#sockets.add(one)
      one.on('error', () => undefined)
      one.on('close', () => other.destroy())
      one.pipe(other)
    }
  }
}

describe('close()', () => {
  test('waits for a read that is repeated meanwhile', async () => {
    const db = await ready()
    let reads = 0
    let closing: Promise<void> | undefined
    fake.script = (sql, { socket }) => {
      if (!sql.startsWith('SELECT a') || (reads += 1) > 1) return undefined
      return () => {
        closing = db.close()
        socket.resetAndDestroy()
      }
    }
    await expect(settles(db.query('SELECT a'))).resolves.toBeDefined()
    await settles(Promise.resolve(closing))
    expect([reads, db.status().state]).toEqual([2, 'closed'])
  })

  test('lets a running transaction ask the pool for what it needs, and nobody else', async () => {
    const db = await ready({ followTransactions: true })
    let closing: Promise<void> | undefined
    const body = async (tx: Transaction): Promise<void> => {
      await tx.query('UPDATE a SET n = 1')
      closing = db.close()
      await db.query('UPDATE b SET n = 1')
    }
    const running = db.transaction(body)
    await vi.waitFor(() => expect(closing).toBeDefined(), WITHIN)
    await expect(db.query('UPDATE c SET n = 1')).rejects.toMatchObject({ code: 'HA_CLOSED' })
    await settles(running)
    await settles(Promise.resolve(closing))
    expect([fake.count('UPDATE b'), fake.count('UPDATE c'), fake.count('COMMIT')]).toEqual([1, 0, 1])
  })
})

describe('a slow statement', () => {
  test('does not have the nodes asked several times a second for as long as it runs', async () => {
    const other = await server()
    const db = await ready({ probeIntervalMs: 60_000, passiveProbeIntervalMs: 60_000, suspectAfterMs: 50 })
    const probes = new Map<FakeMysql, number>()
    for (const each of [fake, other]) {
      each.script = (sql) => {
        if (sql === PROBE_SQL) probes.set(each, (probes.get(each) ?? 0) + 1)
        return sql === 'SELECT slow' ? () => undefined : undefined
      }
    }
    await expect(settles(db.query({ sql: 'SELECT slow', timeoutMs: 3000 }))).rejects.toMatchObject({
      code: 'HA_TIMEOUT',
    })
    // At 50 ms and then at half its age each time: 11 in 3 s. A fixed pause would make it 30.
    expect(probes.get(fake)).toBeGreaterThan(1)
    expect(probes.get(fake)).toBeLessThan(20)
    expect(probes.get(other)).toBeLessThan(20)
  })

  test('does not hide that its node has frozen from what comes later', async () => {
    const other = await server()
    const db = await ready({ probeIntervalMs: 60_000, passiveProbeIntervalMs: 60_000, probeTimeoutMs: 200 })
    const writer = fakes.find(({ name }) => name === db.status().writer.host) ?? fake
    writer.script = (sql) => (sql === 'SELECT slow' ? () => undefined : undefined)
    const slow = db.query({ sql: 'SELECT slow', timeoutMs: 60_000 }).catch((error: unknown) => error)
    await sleep(3000)
    freeze(writer)
    await settles(db.query('SELECT 1'))
    expect(db.status().writer.host).toBe((writer === fake ? other : fake).name)
    db.destroy()
    await settles(slow)
  })
})

describe('a writer that freezes', () => {
  test('with idle connections costs few dials, and its callers go to the next one', async () => {
    const other = await server()
    const options = { probeTimeoutMs: 200, suspectAfterMs: 100, validateAfterIdleMs: 50, connectTimeoutMs: 1000 }
    const db = await ready(options)
    const writer = fakes.find(({ name }) => name === db.status().writer.host) ?? fake
    const next = writer === fake ? other : fake
    await settles(Promise.all(Array.from({ length: 8 }, () => db.query('SELECT 1'))))
    await sleep(100)
    const dialsBefore = writer.dials
    freeze(writer)
    await settles(Promise.all(Array.from({ length: 8 }, () => db.query('UPDATE t SET n = 1'))))
    expect(next.count('UPDATE')).toBe(8)
    expect(writer.dials - dialsBefore).toBeLessThanOrEqual(4)
  })

  test('ends the wait of those who wait for a connection to it after failoverTimeoutMs', async () => {
    const options = { probeTimeoutMs: 200, suspectAfterMs: 100, failoverTimeoutMs: 500, connectionLimit: 1 }
    const db = await ready({ ...options, acquireTimeoutMs: 60_000 })
    const connection = await db.getConnection()
    const waiting = db.query('UPDATE t SET n = 1')
    freeze(fake)
    await expect(settles(waiting)).rejects.toMatchObject({ code: 'HA_NO_WRITER' })
    connection.release()
  })
})

describe('packets out of order', () => {
  test('end the connection, and no answer is taken for another one’s', async () => {
    const db = await ready({ connectionLimit: 1 })
    const told = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    let isDone = false
    fake.script = (sql, session) => {
      if (isDone || !sql.startsWith('UPDATE')) return undefined
      isDone = true
      return () => session.skip().ok()
    }
    await expect(settles(db.query('UPDATE t SET n = 1'))).rejects.toMatchObject({ code: 'HA_OUTCOME_UNKNOWN' })
    await settles(db.query('SELECT 1'))
    expect(fake.statements.filter((sql) => /^(UPDATE|SELECT)/.test(sql))).toEqual(['UPDATE t SET n = 1', 'SELECT 1'])
    told.mockRestore()
  })
})

describe('options of a transaction', () => {
  test.each<[string, object]>([
    ['isolationLevel', { isolationLevel: 'SERIALIZABLE; DROP TABLE t' }],
    ['maxRetries', { maxRetries: Number.NaN }],
    ['maxRetries', { maxRetries: -1 }],
  ])('with a wrong %s are refused', async (name, options) => {
    const db = await ready()
    fake.statements.length = 0
    await expect(db.transaction(() => Promise.resolve(1), options)).rejects.toMatchObject({
      code: 'HA_INVALID_OPTION',
      message: expect.stringContaining(name) as string,
    })
    expect(fake.count('START')).toBe(0)
  })
})

describe('the commit fence', () => {
  const TABLE = (session: FakeSession): void =>
    session.rows(['engine', 'type', 'kind'], [['InnoDB', 'binary(16)', 'PRI']])

  /** A server of its own, without Galera. */
  function plain(each: FakeMysql): void {
    const variables = { read_only: 'OFF', wsrep_on: 'OFF', hostname: each.name, port: '3306', datadir: '/d' }
    each.globals.status = { Uptime: '1000' }
    each.globals.variables = variables
    const rows = Object.entries(variables)
    each.script = (sql, session) => {
      if (sql.includes('information_schema')) return () => TABLE(session)
      if (sql.startsWith('SHOW GLOBAL VARIABLES')) return () => session.rows(['Variable_name', 'Value'], rows)
      if (!sql.startsWith('SELECT 1; SHOW')) return undefined
      return () => {
        session.rows(['one'], [['1']], 8)
        session.rows(['Variable_name', 'Value'], rows)
      }
    }
  }

  test('takes no verdict from another plain server behind the same address', async () => {
    const other = await server()
    for (const each of [fake, other]) plain(each)
    const address = await VirtualAddress.open(fake)
    const db = await ready({ hosts: [address.name], failoverTimeoutMs: 1500 })
    const { script } = fake
    fake.script = (sql, session) => {
      if (sql !== 'COMMIT') return script?.(sql, session)
      return () => {
        address.target = other
        for (const { socket } of fake.sessions) socket.resetAndDestroy()
      }
    }
    let runs = 0
    const body = async (tx: Transaction): Promise<void> => {
      runs += 1
      await tx.query('UPDATE quota SET n = n - 1')
    }
    await expect(settles(db.transaction(body, { exactlyOnce: true }))).rejects.toMatchObject({
      code: 'HA_OUTCOME_UNKNOWN',
    })
    expect([runs, other.count('UPDATE')]).toEqual([1, 0])
    expect(db.status().fence).toEqual({ committed: 0, aborted: 0, unknown: 1 })
  })

  test('and a silent table are within the one limit of ready()', async () => {
    fake.script = (sql) => (sql.includes('information_schema') ? () => undefined : undefined)
    const db = createPool({ env: {}, user: 'u', database: 'd', hosts: [fake.name], exactlyOnce: true })
    pools.push(db)
    await expect(settles(db.ready({ timeoutMs: 1000 }))).rejects.toMatchObject({ code: 'HA_TIMEOUT' })
  })

  test('makes its table through a connection that is lost', async () => {
    let asked = 0
    fake.script = (sql, session) => {
      if (!sql.includes('information_schema')) return undefined
      asked += 1
      return asked === 1 ? () => void session.socket.resetAndDestroy() : () => TABLE(session)
    }
    const db = await ready()
    await expect(settles(db.transaction(() => Promise.resolve(1), { exactlyOnce: true }))).resolves.toBe(1)
    expect(asked).toBe(2)
  })
})

describe('a COMMIT that is not sent', () => {
  test('is refused and not unknown while a stream is open, and after the release', async () => {
    const db = await ready()
    const connection = await db.getConnection()
    await connection.beginTransaction()
    fake.once('SELECT 2', (session) => {
      session.columns(['one'])
      session.row(['1'])
    })
    const rows = connection.stream('SELECT 2')
    await settles(once(rows, 'data'))
    await expect(settles(connection.commit())).rejects.toMatchObject({ code: 'HA_STREAM_OPEN' })
    rows.destroy()
    connection.release()
    await expect(settles(connection.commit())).rejects.toMatchObject({
      code: expect.stringMatching(/CLOSED|LOST/) as string,
    })
    expect(fake.count('COMMIT')).toBe(0)
  })
})
