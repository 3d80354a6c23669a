import { ClosedError, TimeoutError, toError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import type { Queryable } from './connection.js'
import type { DriverConnection, DriverStatement } from './driver.js'
import { SessionSetupError } from './errors.js'
import type { ResolvedMysqlPoolOptions } from './options.js'
import type { QueryResult } from './result.js'
import { toStatement, type StatementOptions } from './statement.js'

/** A connection that was just opened, as `onConnection` gets it. It can be used until the hook has ended. */
export interface NewConnection extends Pick<Queryable, 'query' | 'execute'> {
  /** `host:port` of the node. */
  readonly host: string
  /** The node's own id of the connection. */
  readonly threadId: number
}

/** @internal */
export interface SessionSetupOptions extends Pick<
  ResolvedMysqlPoolOptions,
  'sqlMode' | 'wsrepSyncWait' | 'initSql' | 'onConnection'
> {
  /** `host:port` of the node. */
  readonly host: string
  readonly isGalera: boolean
}

/** Makes a new connection ready for its first user. Whatever fails or hangs there ends it. @internal */
export async function setUpSession(
  connection: DriverConnection,
  options: SessionSetupOptions,
  signal: AbortSignal,
): Promise<void> {
  await connection.run('query', sessionSetup(options, options.isGalera))
  const { host, initSql, onConnection } = options
  try {
    for (const sql of initSql) await connection.run('query', { sql })
  } catch (error) {
    throw new SessionSetupError('initSql', host, toError(error))
  }
  if (onConnection !== undefined) await runHook(connection, host, onConnection, signal)
}

async function runHook(
  connection: DriverConnection,
  host: string,
  hook: (connection: NewConnection) => void | Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let isOver = false
  const run = async (
    method: 'query' | 'execute',
    sql: string | StatementOptions,
    values: unknown,
  ): Promise<unknown> => {
    if (isOver) throw new ClosedError('connection of onConnection')
    const { driver, limits } = toStatement(sql, values)
    const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, `statement on ${host}`)
    return waitWithin(connection.run(method, driver), limits, late, (reason) => connection.cut(reason))
  }
  const given: NewConnection = Object.freeze({
    host,
    threadId: connection.threadId,
    query: <T>(sql: string | StatementOptions, values?: unknown) =>
      run('query', sql, values) as Promise<QueryResult<T>>,
    execute: <T>(sql: string | StatementOptions, values?: unknown) =>
      run('execute', sql, values) as Promise<QueryResult<T>>,
  })
  try {
    // The hook may wait for anything, not only for this connection.
    const never = (): Error => new Error('bug: no limit was given')
    await waitWithin((async () => hook(given))(), { signal }, never)
  } catch (error) {
    throw new SessionSetupError('onConnection', host, toError(error))
  } finally {
    isOver = true
  }
}

/**
 * The statement that prepares every new connection.
 *
 * Autocommit is set although it is the default: a server-wide `autocommit = 0` would leave acknowledged writes of single
 * statements uncommitted.
 */
function sessionSetup(
  options: Pick<ResolvedMysqlPoolOptions, 'sqlMode' | 'wsrepSyncWait'>,
  isGalera: boolean,
): DriverStatement {
  const settings = ['SESSION autocommit = 1']
  const values: (string | number)[] = []
  if (options.sqlMode !== undefined) {
    settings.push('SESSION sql_mode = ?')
    values.push(options.sqlMode)
  }
  if (options.wsrepSyncWait !== undefined && isGalera) {
    settings.push('SESSION wsrep_sync_wait = ?')
    values.push(options.wsrepSyncWait)
  }
  return { sql: `SET ${settings.join(', ')}`, values }
}
