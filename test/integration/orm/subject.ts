import type { MysqlPool } from '../../../src/mysql/index.js'

/** Which node answers. */
export const HOST_SQL = 'SELECT @@wsrep_node_address AS host'

/** One ORM on our pool, as the tests use all of them. */
export interface OrmSubject {
  readonly name: string
  /** Opens the ORM and its pool, and runs a migration that makes the table `table (id INT PRIMARY KEY, text VARCHAR(40))`. */
  open(table: string): Promise<void>
  readonly pool: MysqlPool
  insert(id: number, text: string): Promise<void>
  text(id: number): Promise<string | undefined>
  /** Inserts in a transaction of the ORM's own, with `work` before its end. Nobody runs it again. */
  inTransaction(id: number, work: () => Promise<void>): Promise<void>
  /** Inserts in a transaction that our pool runs, with the commit fence. */
  exactlyOnce(id: number): Promise<void>
  /** Runs `body` in a transaction that our pool runs. */
  retried(id: number, body: () => Promise<void>): Promise<void>
  /** Asks by the ORM's own way of reading elsewhere than on the writer which node answers. */
  readingHost(): Promise<string>
  /** Asks by its ordinary way. */
  writingHost(): Promise<string>
  /** The ids of all rows, streamed, where the ORM has streams. */
  streamIds?(): AsyncIterable<number>
  /** Runs a statement that takes so long and cancels it by the ORM's own means after `afterMs`; resolves to its error. */
  cancel?(seconds: number, afterMs: number): Promise<unknown>
  /** The error of the driver within the ORM's own. */
  original(error: unknown): unknown
  close(): Promise<void>
}
