import type { DriverStatement } from './driver.js'
import type { ResolvedMysqlPoolOptions } from './options.js'

/** The statement that prepares every new connection, or `undefined` when nothing is to be set. @internal */
export function sessionSetup(
  options: Pick<ResolvedMysqlPoolOptions, 'sqlMode' | 'wsrepSyncWait'>,
  isGalera: boolean,
): DriverStatement | undefined {
  const settings: string[] = []
  const values: (string | number)[] = []
  if (options.sqlMode !== undefined) {
    settings.push('SESSION sql_mode = ?')
    values.push(options.sqlMode)
  }
  if (options.wsrepSyncWait !== undefined && isGalera) {
    settings.push('SESSION wsrep_sync_wait = ?')
    values.push(options.wsrepSyncWait)
  }
  return settings.length === 0 ? undefined : { sql: `SET ${settings.join(', ')}`, values }
}
