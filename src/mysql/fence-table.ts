import type { WaitOptions } from '../core/time-limit.js'
import { FenceUnavailableError } from './errors.js'
import type { Lease } from './lease.js'

/** Name of the table of the commit fence. */
export const FENCE_TABLE = 'openstack_ha_fence'

/** What became of an attempt whose COMMIT was not answered. @internal */
export type Verdict = 'committed' | 'aborted'

/** A command on a table, and access to a schema, denied. */
const ER_DENIED: readonly unknown[] = [1142, 1044]
const ER_DUPLICATE_KEY = 1062
const ER_PARSE = 1064

const COLUMNS =
  '(id BINARY(16) NOT NULL PRIMARY KEY, state CHAR(1) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, ' +
  'written_at DATETIME NOT NULL) ENGINE=InnoDB'

const VALUES = '(id, state, written_at) VALUES (?, ?, UTC_TIMESTAMP())'

/** The table of one schema, and the statements that use it. @internal */
export class FenceTable {
  /** Quoted and with its schema: the function may change the default schema. */
  readonly #name: string
  readonly #database: string
  readonly #user: string

  constructor(database: string, user: string) {
    this.#database = database
    this.#user = user
    this.#name = `${quoteName(database)}.${quoteName(FENCE_TABLE)}`
  }

  /** Makes the table unless it is there, and makes sure that it can do its work. */
  async ensure(lease: Lease): Promise<void> {
    if (await this.#isUsable(lease)) return
    try {
      await lease.run('query', { sql: `CREATE TABLE IF NOT EXISTS ${this.#name} ${COLUMNS}` })
    } catch (error) {
      if (ER_DENIED.includes((error as { errno?: unknown }).errno)) throw this.#denied(error)
      throw error
    }
  }

  /** Begins a transaction and writes in it that the attempt `id` commits; with MariaDB in one round trip. */
  async begin(lease: Lease, id: Buffer): Promise<void> {
    if (lease.connection.hasCompound) {
      const claim = `INSERT INTO ${this.#name} ${VALUES}`
      try {
        await lease.run('query', { sql: `BEGIN NOT ATOMIC START TRANSACTION; ${claim}; END`, values: [id, 'c'] })
        return
      } catch (error) {
        if ((error as { errno?: unknown }).errno !== ER_PARSE) throw error
        lease.connection.hasCompound = false
      }
    }
    await lease.run('query', { sql: 'START TRANSACTION' })
    await this.#insert(lease, id, 'c')
  }

  /** Writes that the attempt `id` can never commit any more. False when it, or an earlier call of this, was first. */
  async revoke(lease: Lease, id: Buffer, limits: WaitOptions): Promise<boolean> {
    try {
      await this.#insert(lease, id, 'a', limits)
      return true
    } catch (error) {
      if ((error as { errno?: unknown }).errno === ER_DUPLICATE_KEY) return false
      throw error
    }
  }

  /** What is written of the attempt `id`. */
  async read(lease: Lease, id: Buffer, limits: WaitOptions): Promise<Verdict | undefined> {
    const sql = `SELECT state FROM ${this.#name} WHERE id = ?`
    const [row] = await select<{ state: string }>(lease, sql, [id], limits)
    if (row === undefined) return undefined
    return row.state === 'c' ? 'committed' : 'aborted'
  }

  /**
   * Deletes up to `limit` ids that are below `below` and were written before `hours` ago by the server's clock.
   *
   * Without range locks, which would wait for every open fenced transaction and stop all new ones: a plain read finds
   * the ids, and each is deleted by its primary key. Resolves to how many were found.
   */
  async sweep(lease: Lease, below: Buffer, hours: number, limit: number, limits: WaitOptions): Promise<number> {
    const isOld = 'id < ? AND written_at < UTC_TIMESTAMP() - INTERVAL ? HOUR'
    const find = `SELECT id FROM ${this.#name} WHERE ${isOld} ORDER BY id LIMIT ?`
    const old = await select<{ id: Buffer }>(lease, find, [below, hours, limit], limits)
    if (old.length === 0) return 0
    // Without gap locks, also where somebody else has deleted the row meanwhile.
    await lease.run('query', { sql: 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED' }, limits)
    await lease.run('query', { sql: 'START TRANSACTION' }, limits)
    // One by one: for a list the optimizer scans a small table, and waits for what open transactions have written.
    const remove = `DELETE FROM ${this.#name} WHERE id = ?`
    for (const { id } of old) await lease.run('query', { sql: remove, values: [id] }, limits)
    await lease.run('query', { sql: 'COMMIT' }, limits)
    return old.length
  }

  async #insert(lease: Lease, id: Buffer, state: 'c' | 'a', limits?: WaitOptions): Promise<void> {
    await lease.run('query', { sql: `INSERT INTO ${this.#name} ${VALUES}`, values: [id, state] }, limits)
  }

  /** False when there is no table, or none that we may see. */
  async #isUsable(lease: Lease): Promise<boolean> {
    const sql =
      'SELECT t.ENGINE AS engine, c.COLUMN_TYPE AS type, c.COLUMN_KEY AS kind FROM information_schema.TABLES t ' +
      'LEFT JOIN information_schema.COLUMNS c ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME ' +
      "AND c.COLUMN_NAME = 'id' WHERE t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ?"
    const values = [this.#database, FENCE_TABLE]
    const [found] = await select<{ engine: string; type: string; kind: string }>(lease, sql, values)
    if (found === undefined) return false
    if (found.engine !== 'InnoDB' || found.type !== 'binary(16)' || found.kind !== 'PRI') {
      throw new FenceUnavailableError(`the table ${this.#name} is not what it has to be: ${this.#remedy()}`)
    }
    return true
  }

  #denied(cause: unknown): FenceUnavailableError {
    const problem = `the table ${this.#name} does not exist and may not be created by '${this.#user}'`
    return new FenceUnavailableError(`${problem}: ${this.#remedy()}`, cause)
  }

  #remedy(): string {
    return (
      `run CREATE TABLE ${this.#name} ${COLUMNS}; ` +
      `GRANT SELECT, INSERT, DELETE ON ${this.#name} TO '${this.#user.replaceAll("'", "''")}'@'%'`
    )
  }
}

/** Rows come as objects of plain values, whatever the pool's options ask of mysql2. */
async function select<Row>(lease: Lease, sql: string, values: unknown[], limits?: WaitOptions): Promise<Row[]> {
  const statement = { sql, values, rowsAsArray: false, nestTables: false, typeCast: true }
  const [rows] = await lease.run('query', statement, limits)
  return rows as Row[]
}

function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``
}
