import { ConnectionLostError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import type { CallbackFace } from './callback-face.js'
import type { Channel } from './channel.js'
import type { CallbackConnection } from './driver.js'
import type { QueryResult, Row } from './result.js'
import { rowStream, type RowStream } from './row-stream.js'
import { toStatement, type StatementOptions, type StreamOptions } from './statement.js'

/** Runs statements; what the pool, its connections and its transactions have in common. */
export interface Queryable {
  /**
   * Sends a statement as text, as mysql2's `query`.
   *
   * `timeoutMs` and `signal` in the object form end the wait; the connection is cut then, and a write may have happened.
   */
  query<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>>
  /** Sends a statement as a prepared one, as mysql2's `execute`. Limits as in {@link Queryable.query}. */
  execute<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>>
  /**
   * Sends a statement as text and returns its rows as a stream, for results that do not fit into memory.
   *
   * The connection is taken until the server has sent the last row, and until then refuses other statements with
   * `StreamOpenError`. A reader that leaves early costs the connection when much is left.
   */
  stream<T = Row>(sql: string | StreamOptions, values?: unknown): RowStream<T>
}

/** A statement that was prepared on one connection. */
export interface PreparedStatement {
  /** Runs it with these values. */
  execute<T = Row[]>(values?: unknown): Promise<QueryResult<T>>
  /** Forgets it. */
  close(): Promise<void>
}

/**
 * A connection that was checked out of the pool, for one caller until `release()`: mysql2/promise's `PoolConnection`.
 *
 * It stays on its node: when the node dies or stops being the writer the connection is cut, and what runs on it rejects
 * with `ConnectionLostError`, or with `StatementOutcomeUnknownError` when a write in autocommit may have happened.
 */
export class PoolConnection implements Queryable {
  readonly #channel: Channel
  readonly #face: CallbackFace

  /** @internal */
  constructor(channel: Channel, face: CallbackFace) {
    this.#channel = channel
    this.#face = face
  }

  /** `host:port` of the node. */
  get host(): string {
    return this.#channel.host
  }

  /** The node's own id of the connection, for `KILL` on that node. */
  get threadId(): number {
    return this.#channel.connection.threadId
  }

  /** mysql2's options of the connection, with the host and port of its node. */
  get config(): CallbackConnection['config'] {
    return this.#channel.connection.config
  }

  /** The same connection with callbacks: mysql2's `PoolConnection`. It stays the same object from checkout to checkout. */
  get connection(): CallbackConnection {
    return this.#face as unknown as CallbackConnection
  }

  query<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#run('query', sql, values)
  }

  execute<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#run('execute', sql, values)
  }

  stream<T = Row>(sql: string | StreamOptions, values?: unknown): RowStream<T> {
    const statement = toStatement(sql, values)
    return rowStream<T>((sink) => this.#channel.stream(statement, sink), statement.highWaterMark)
  }

  /** Prepares a statement on this connection. */
  async prepare(sql: string): Promise<PreparedStatement> {
    await this.#channel.control((connection) => connection.prepare(sql))
    return {
      execute: (values) => this.execute(sql, values),
      close: () => {
        this.unprepare(sql)
        return Promise.resolve()
      },
    }
  }

  /** Forgets a prepared statement. */
  unprepare(sql: string): void {
    this.#channel.connection.unprepare(sql)
  }

  /** Begins a transaction. */
  async beginTransaction(): Promise<void> {
    await this.#channel.begin()
  }

  /** Commits. Rejects with `CommitOutcomeUnknownError` when the answer was lost. */
  async commit(limits: WaitOptions = {}): Promise<void> {
    await this.#channel.commit(limits)
  }

  /** Rolls back. Resolves on a connection that is lost, too: there is nothing left to roll back. */
  async rollback(): Promise<void> {
    await this.#channel.rollback()
  }

  /** Resolves when the node has answered. */
  async ping(): Promise<void> {
    await this.#channel.control((connection) => connection.ping())
  }

  /** Starts the session anew, without variables and temporary tables; the connection is not handed out again. */
  async reset(): Promise<void> {
    await this.#channel.control((connection) => connection.reset(), true)
  }

  /** Logs another user in, or changes the database; the connection is not handed out again. */
  async changeUser(options: object): Promise<void> {
    await this.#channel.control((connection) => connection.changeUser(options), true)
  }

  /** `sql` with its placeholders filled in, as `query` sends it. */
  format(sql: string, values?: unknown): string {
    return this.#channel.connection.format(sql, values)
  }

  /** A value as it stands in SQL. */
  escape(value: unknown): string {
    return this.#channel.connection.escape(value)
  }

  /** A name, or a list of names, as it stands in SQL. */
  escapeId(name: string | string[]): string {
    return this.#channel.connection.escapeId(name)
  }

  /** Gives the connection back; a transaction left open is rolled back. A second call does nothing. */
  release(): void {
    this.#channel.release()
  }

  /** The same as {@link PoolConnection.release}, as in mysql2's pool. */
  end(): Promise<void> {
    this.release()
    return Promise.resolve()
  }

  /** Cuts the connection instead of giving it back; what runs on it rejects with `error`. @default a `ConnectionLostError` */
  destroy(error: Error = new ConnectionLostError(this.host, 'it was destroyed by its user')): void {
    this.#channel.destroy(error)
  }

  /** {@link PoolConnection.release}, for `using`. */
  [Symbol.dispose](): void {
    this.release()
  }

  /** {@link PoolConnection.release}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.end()
  }

  async #run<T>(method: 'query' | 'execute', sql: string | StatementOptions, values: unknown): Promise<QueryResult<T>> {
    return (await this.#channel.run(method, toStatement(sql, values))) as unknown as QueryResult<T>
  }
}
