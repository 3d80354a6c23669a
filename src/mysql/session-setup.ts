import type { DriverStatement } from './driver.js'
import type { ResolvedMysqlPoolOptions } from './options.js'

/**
 * The statement that prepares every new connection.
 *
 * Autocommit is set although it is the default: a server-wide `autocommit = 0` would leave acknowledged writes of single
 * statements uncommitted. @internal
 */
export function sessionSetup(
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
