/**
 * A multi-host MySQL/Galera pool with one writer and failover.
 *
 * ```ts
 * import { createPool } from 'openstack-ha/mysql'
 *
 * const db = createPool({ url: 'mysql://nova:secret@db1,db2,db3/nova' })
 * await db.transaction(async (tx) => {
 *   await tx.query('UPDATE quota SET n = n - 1 WHERE id = ?', [7])
 * })
 * ```
 *
 * @module
 */
export { createPool, MysqlPool } from './pool.js'
export type { MysqlPoolEvents } from './pool.js'
export type { Reader } from './reader.js'
export type { MysqlPoolStatus } from './pool-status.js'
export type { LeakEvent } from './leaks.js'
export type { MysqlPoolOptions, MysqlHostOption } from './options.js'
export { PoolConnection } from './connection.js'
export type { PreparedStatement, Queryable } from './connection.js'
export type { CallbackConnection, CallbackPool, Field, ResultHeader } from './driver.js'
export { Transaction } from './transaction.js'
export type { TransactionOptions } from './transaction-options.js'
export type { FenceStatus } from './fence.js'
export type { ReadOptions, StatementOptions, StreamOptions } from './statement.js'
export type { RowStream } from './row-stream.js'
export type { NewConnection } from './session-setup.js'
export type { QueryResult, Row } from './result.js'
export type { MysqlHostStatus, NodeState } from './node-status.js'
export type { NodePoolStatus } from './node-pool.js'
export type { WriterStatus } from './writer.js'
export {
  CommitOutcomeUnknownError,
  FenceUnavailableError,
  NoWriterError,
  QueueFullError,
  SessionSetupError,
  StatementOutcomeUnknownError,
  StreamOpenError,
  TransactionEndedError,
} from './errors.js'
export type { HostReason } from './errors.js'
export * from '../core/public.js'
