import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { PROBE_SQL } from '../../src/mysql/galera.js'

/** Deals with one statement in its own way (an empty one: says nothing); `undefined` lets the server answer. */
export type Script = (sql: string, session: FakeSession) => (() => void) | undefined

const IN_TRANSACTION = 1
const AUTOCOMMIT = 2
const MORE_RESULTS = 8
const PROTOCOL_41 = 0x200
const CAPABILITIES = 0x1 | 0x2 | 0x4 | 0x8 | PROTOCOL_41 | 0x2000 | 0x8000 | 0x10000 | 0x20000 | 0x80000
const COM = { quit: 0x01, query: 0x03, ping: 0x0e, prepare: 0x16, execute: 0x17, closeStatement: 0x19 } as const

const HEALTHY: Readonly<Record<string, string>> = {
  Uptime: '1000',
  wsrep_ready: 'ON',
  wsrep_cluster_status: 'Primary',
  wsrep_local_state: '4',
  wsrep_cluster_state_uuid: '4b9e7f0e-0000-11f0-8000-000000000001',
  wsrep_cluster_conf_id: '5',
  wsrep_cluster_size: '3',
  wsrep_replicated: '0',
}
const VARIABLES: Readonly<Record<string, string>> = { read_only: 'OFF', wsrep_on: 'ON', wsrep_desync: 'OFF' }

/**
 * A server of the MySQL protocol on 127.0.0.1 that has no data and misbehaves as told: for what no real server can be
 * made to show. Its answers are those of a healthy Galera node.
 */
export class FakeMysql {
  /** All statements but the probe's, in the order they came. */
  readonly statements: string[] = []
  readonly sessions: Set<FakeSession> = new Set()
  /** All connections that were ever accepted. */
  dials = 0
  /** What the greeting says. One with `MariaDB` in it knows compound statements. */
  version = '10.11.0-fake'
  /** Asked before each answer. */
  script: Script | undefined
  /** Called with each new connection; true means that it has been dealt with. */
  onConnection: ((session: FakeSession) => boolean) | undefined
  /** What the probe is told. */
  readonly globals: { status: Record<string, string>; variables: Record<string, string> } = {
    status: { ...HEALTHY },
    variables: { ...VARIABLES },
  }
  #server: Server | undefined
  #port = 0

  static async start(): Promise<FakeMysql> {
    const fake = new FakeMysql()
    const server = createServer((socket) => fake.#serve(socket))
    fake.#server = server
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    fake.#port = (server.address() as AddressInfo).port
    return fake
  }

  get name(): string {
    return `127.0.0.1:${this.#port}`
  }

  /** How often a statement came that begins like this. */
  count(start: string): number {
    return this.statements.filter((sql) => sql.startsWith(start)).length
  }

  /** Deals with the first statement that begins like this; later ones are answered. */
  once(start: string, act: (session: FakeSession) => void): void {
    let isDone = false
    this.script = (sql, session) => {
      if (isDone || !sql.startsWith(start)) return undefined
      isDone = true
      return () => act(session)
    }
  }

  async close(): Promise<void> {
    for (const { socket } of this.sessions) socket.destroy()
    const server = this.#server
    if (server !== undefined) await new Promise((resolve) => server.close(resolve))
  }

  #serve(socket: Socket): void {
    const session = new FakeSession(this, socket, (this.dials += 1))
    this.sessions.add(session)
    socket.on('error', () => undefined)
    socket.on('close', () => this.sessions.delete(session))
    if (this.onConnection?.(session) !== true) session.start()
  }
}

/** One connection of the fake. */
export class FakeSession {
  readonly socket: Socket
  readonly id: number
  readonly #fake: FakeMysql
  readonly #prepared: string[] = []
  #input = Buffer.alloc(0)
  #sequence = 0
  #isGreeted = false
  isInTransaction = false

  constructor(fake: FakeMysql, socket: Socket, id: number) {
    this.#fake = fake
    this.socket = socket
    this.id = id
  }

  /** Sends the greeting and serves. */
  start(): void {
    this.greet()
    this.socket.on('data', (chunk) => this.#receive(chunk))
  }

  greet(): void {
    const low = Buffer.alloc(7)
    low.writeUInt16LE(CAPABILITIES & 0xffff, 0)
    low.writeUInt8(45, 2)
    low.writeUInt16LE(AUTOCOMMIT, 3)
    low.writeUInt16LE(CAPABILITIES >>> 16, 5)
    const id = Buffer.alloc(4)
    id.writeUInt32LE(this.id)
    const salt = Buffer.alloc(8, 'a')
    const rest = [Buffer.from([21]), Buffer.alloc(10), Buffer.alloc(12, 'b'), Buffer.alloc(1)]
    const plugin = Buffer.from('mysql_native_password\0')
    this.send(Buffer.from(`\n${this.#fake.version}\0`), id, salt, Buffer.alloc(1), low, ...rest, plugin)
  }

  /** One packet. */
  send(...parts: readonly Buffer[]): void {
    const body = Buffer.concat(parts)
    const header = Buffer.alloc(4)
    header.writeUIntLE(body.length, 0, 3)
    header.writeUInt8(this.#sequence, 3)
    this.#sequence = (this.#sequence + 1) % 256
    this.socket.write(Buffer.concat([header, body]))
  }

  /** The next packet has a number that is not its own. */
  skip(): this {
    this.#sequence = (this.#sequence + 1) % 256
    return this
  }

  ok(): void {
    this.send(Buffer.from([0, 1, 0, this.#status(), 0, 0, 0]))
  }

  /** An OK after which another result follows. */
  okThen(): void {
    this.send(Buffer.from([0, 0, 0, this.#status() | MORE_RESULTS, 0, 0, 0]))
  }

  error(errno: number, sqlState: string, message: string): void {
    const code = Buffer.alloc(2)
    code.writeUInt16LE(errno)
    this.send(Buffer.from([0xff]), code, Buffer.from(`#${sqlState}${message}`))
  }

  /** The beginning of a result set of text columns. */
  columns(names: readonly string[]): void {
    this.send(Buffer.from([names.length]))
    for (const name of names) {
      const texts = ['def', '', '', '', name, ''].map(counted)
      this.send(...texts, Buffer.from([0x0c, 45, 0, 0xff, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0]))
    }
    this.endOfRows(0)
  }

  row(values: readonly string[]): void {
    this.send(...values.map(counted))
  }

  endOfRows(flags: number): void {
    this.send(Buffer.from([0xfe, 0, 0, this.#status() | flags, 0]))
  }

  rows(names: readonly string[], rows: readonly (readonly string[])[], flags = 0): void {
    this.columns(names)
    for (const row of rows) this.row(row)
    this.endOfRows(flags)
  }

  /** Answers as a healthy server. */
  answer(sql: string): void {
    if (sql === PROBE_SQL) {
      const { status, variables } = this.#fake.globals
      this.rows(['Variable_name', 'Value'], Object.entries(status), MORE_RESULTS)
      this.rows(['Variable_name', 'Value'], Object.entries(variables))
    } else if (/^show global status/i.test(sql)) {
      this.rows(['Variable_name', 'Value'], Object.entries(this.#fake.globals.status))
    } else if (/^(select|show)/i.test(sql)) {
      this.rows(['one'], [['1']])
    } else if (sql.split(';').length > 1) {
      // The causal read: a setting, a row, a setting, and which server it was.
      this.okThen()
      this.rows(['one'], [['1']], MORE_RESULTS)
      this.okThen()
      this.rows(['Variable_name', 'Value'], Object.entries(this.#fake.globals.status))
    } else {
      if (/^start transaction|and chain$/i.test(sql)) this.isInTransaction = true
      else if (/^(commit|rollback)(?! to\b)/i.test(sql)) this.isInTransaction = false
      this.ok()
    }
  }

  #status(): number {
    return AUTOCOMMIT | (this.isInTransaction ? IN_TRANSACTION : 0)
  }

  #receive(chunk: Buffer): void {
    this.#input = Buffer.concat([this.#input, chunk])
    while (this.#input.length >= 4) {
      const end = 4 + this.#input.readUIntLE(0, 3)
      if (this.#input.length < end) return
      const sequence = this.#input.readUInt8(3)
      const body = this.#input.subarray(4, end)
      this.#input = this.#input.subarray(end)
      this.#sequence = sequence + 1
      this.#packet(body)
    }
  }

  #packet(body: Buffer): void {
    const command = body[0]
    if (!this.#isGreeted) {
      this.#isGreeted = true
      this.ok()
    } else if (command === COM.query) {
      this.#statement(body.toString('utf8', 1))
    } else if (command === COM.prepare) {
      this.#prepare(body.toString('utf8', 1))
    } else if (command === COM.execute) {
      this.#statement(this.#prepared[body.readUInt32LE(1) - 1] ?? '')
    } else if (command === COM.ping) {
      this.ok()
    } else if (command !== COM.closeStatement) {
      this.socket.end()
    }
  }

  #prepare(sql: string): void {
    const id = Buffer.alloc(4)
    id.writeUInt32LE(this.#prepared.push(sql))
    this.send(Buffer.from([0]), id, Buffer.alloc(7))
  }

  #statement(sql: string): void {
    if (sql !== PROBE_SQL) this.#fake.statements.push(sql)
    const act = this.#fake.script?.(sql, this)
    if (act === undefined) this.answer(sql)
    else act()
  }
}

function counted(text: string): Buffer {
  return Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)])
}
