import type { WaitOptions } from '../core/time-limit.js'
import type { Autocommit } from './autocommit.js'
import type { PoolConnection, Queryable } from './connection.js'
import type { CallbackPool } from './driver.js'
import type { QueryResult, Row } from './result.js'
import type { RowStream } from './row-stream.js'
import type { ReadOptions, StreamOptions } from './statement.js'

/** Reads from any node that is in the cluster's present view. */
export interface Reader extends Queryable {
  query<T = Row[]>(sql: string | ReadOptions, values?: unknown): Promise<QueryResult<T>>
  execute<T = Row[]>(sql: string | ReadOptions, values?: unknown): Promise<QueryResult<T>>
  stream<T = Row>(sql: string | (ReadOptions & StreamOptions), values?: unknown): RowStream<T>
  /** A connection to the least busy node, for reads. */
  getConnection(limits?: WaitOptions): Promise<PoolConnection>
  /** The same with callbacks: mysql2's `Pool`, whose connections are for reads. */
  readonly callbackPool: CallbackPool
}

/** What {@link makeReader} needs of the pool. @internal */
export interface ReaderSource {
  readonly autocommit: Autocommit
  readonly getConnection: (limits: WaitOptions) => Promise<PoolConnection>
  readonly makeCallbackPool: () => CallbackPool
}

/** @internal */
export function makeReader({ autocommit, getConnection, makeCallbackPool }: ReaderSource): Reader {
  let face: CallbackPool | undefined
  return Object.freeze({
    query: <T = Row[]>(sql: string | ReadOptions, values?: unknown) =>
      autocommit.statement<T>('read', 'query', sql, values),
    execute: <T = Row[]>(sql: string | ReadOptions, values?: unknown) =>
      autocommit.statement<T>('read', 'execute', sql, values),
    stream: <T = Row>(sql: string | (ReadOptions & StreamOptions), values?: unknown) =>
      autocommit.stream<T>('read', sql, values),
    getConnection: (limits: WaitOptions = {}) => getConnection(limits),
    get callbackPool() {
      return (face ??= makeCallbackPool())
    },
  })
}
