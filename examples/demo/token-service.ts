import { randomUUID } from 'node:crypto'
import { createTransport, type AmqpTransport } from '../../src/amqp/index.js'
import { createClient, type MemcachedClient } from '../../src/memcached/index.js'
import { createPool, type MysqlPool } from '../../src/mysql/index.js'
import { nodes } from '../../test/cluster/index.js'
import type { Operation } from '../../test/harness/index.js'

const USERS = 200
const QUEUE = 'demo.tokens'
const DRAIN_LIMIT_MS = 15_000

interface User {
  readonly id: number
  readonly name: string
}

const hostNames = (kind: 'galera' | 'rabbit' | 'memcached'): string[] =>
  nodes(kind).map(({ host, port }) => `${host}:${port}`)

/**
 * A small service that issues tokens, and uses all three clients for each request: the user comes from the cache, the
 * user's counter is raised under a row lock in a transaction, and the token is announced by a message.
 */
export class TokenService {
  readonly db: MysqlPool
  readonly transport: AmqpTransport
  readonly cache: MemcachedClient
  /** Ids of the announcements that arrived, with how often each did. */
  readonly announced: Map<string, number> = new Map()
  readonly #run: string = randomUUID()

  constructor() {
    this.db = createPool({
      hosts: hostNames('galera'),
      user: 'ha_test',
      password: 'ha_secret',
      database: 'ha_test',
      env: {},
    })
    const url = `rabbit://${hostNames('rabbit')
      .map((host) => `guest:guest@${host}`)
      .join(',')}/`
    this.transport = createTransport({ url, failoverStrategy: 'round-robin', env: {} })
    this.cache = createClient({ servers: hostNames('memcached'), env: {} })
  }

  async open(): Promise<void> {
    await Promise.all([this.db.ready(), this.transport.ready(), this.cache.ready()])
    await this.db.query(
      'CREATE TABLE IF NOT EXISTS demo_user (id INT PRIMARY KEY, name VARCHAR(40), issued INT NOT NULL)',
    )
    await this.db.query(
      'CREATE TABLE IF NOT EXISTS demo_token (n BIGINT AUTO_INCREMENT PRIMARY KEY, id VARCHAR(60), user INT)',
    )
    await this.db.query('DELETE FROM demo_token')
    await this.db.query('DELETE FROM demo_user')
    const rows = Array.from({ length: USERS }, (_, id) => [id, `user ${id}`, 0])
    await this.db.query('INSERT INTO demo_user (id, name, issued) VALUES ?', [rows])
    await this.transport.consume({ queue: QUEUE, type: 'quorum' }, (message) => {
      const { run, id } = message.json() as { run: string; id: string }
      if (run === this.#run) this.announced.set(id, (this.announced.get(id) ?? 0) + 1)
      return Promise.resolve()
    })
  }

  /** One request. When it resolves, the token is stored and its announcement is safe with the broker. */
  async issue({ id, worker, sequence }: Operation): Promise<void> {
    const user = await this.#user((worker * 31 + sequence) % USERS)
    await this.db.transaction(async (tx) => {
      await tx.query('SELECT issued FROM demo_user WHERE id = ? FOR UPDATE', [user.id])
      await tx.query('UPDATE demo_user SET issued = issued + 1 WHERE id = ?', [user.id])
      await tx.query('INSERT INTO demo_token (id, user) VALUES (?, ?)', [id, user.id])
    })
    await this.transport.publish('', QUEUE, { run: this.#run, id, user: user.name })
  }

  /** How often each token is stored, and how often the users' counters were raised. */
  async stored(): Promise<{ readonly tokens: ReadonlyMap<string, number>; readonly issued: number }> {
    const [rows] = await this.db.query<{ id: string; c: number }[]>(
      'SELECT id, COUNT(*) AS c FROM demo_token GROUP BY id',
    )
    const [[sum]] = await this.db.query<[{ issued: string }]>('SELECT SUM(issued) AS issued FROM demo_user')
    return { tokens: new Map(rows.map((row) => [row.id, row.c])), issued: Number(sum.issued) }
  }

  /** Waits until all of `ids` were announced, for a while. */
  async announcedAll(ids: readonly string[]): Promise<void> {
    const deadline = Date.now() + DRAIN_LIMIT_MS
    while (Date.now() < deadline && ids.some((id) => !this.announced.has(id))) {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.db, this.transport, this.cache].map((client) => client.close({ timeoutMs: 3000 })))
  }

  async #user(id: number): Promise<User> {
    const key = `demo:user:${id}`
    const cached = await this.cache.get(key)
    if (cached !== undefined) return cached as User
    const [[user]] = await this.db.query<[User]>('SELECT id, name FROM demo_user WHERE id = ?', [id])
    await this.cache.set(key, user, { ttlSeconds: 300 })
    return user
  }
}
