import type { WaitOptions } from '../core/time-limit.js'
import type { DriverConnection, DriverResult } from './driver.js'
import type { RowSink } from './row-stream.js'
import type { Statement } from './statement.js'

/**
 * What a connection that is in somebody's hands can do, whoever it belongs to: a checkout, or a running transaction.
 *
 * The promise face and the callback face of a connection stand on it. @internal
 */
export interface Channel {
  /** `host:port` of the node. */
  readonly host: string
  readonly connection: DriverConnection
  run(method: 'query' | 'execute', statement: Statement): Promise<DriverResult>
  /** Resolves, when all rows are in `sink`, to the header of a statement without rows. */
  stream(statement: Statement, sink: RowSink): Promise<DriverResult>
  /** The same, but what is asked meanwhile waits for the last row instead of being refused. */
  fill(statement: Statement, sink: RowSink): Promise<DriverResult>
  begin(): Promise<void>
  commit(limits?: WaitOptions): Promise<void>
  rollback(): Promise<void>
  /** Runs what is no statement. `isNewSession` says that the connection is not what the pool has made it afterwards. */
  control(start: (connection: DriverConnection) => Promise<DriverResult>, isNewSession?: boolean): Promise<DriverResult>
  /** Gives the connection back when what it was asked is done. */
  release(): void
  /** Cuts the connection and gives it back; what runs on it rejects with `error`. */
  destroy(error: Error): void
}
