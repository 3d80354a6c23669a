import type { WaitOptions } from '../core/time-limit.js'
import { classify } from './classify.js'
import type { DriverResult, DriverStatement } from './driver.js'
import type { Lease } from './lease.js'
import { bareText } from './bare-text.js'

/** @internal */
export const BEGIN = 'START TRANSACTION'
const ER_PARSE = 1064

/**
 * True for a statement that can be sent together with the BEGIN before it: a SELECT, since whatever becomes of the two it
 * can be repeated.
 *
 * No semicolon may be anywhere, and no value but plain ones: what was put together carelessly must not become several
 * statements here when the server would refuse it elsewhere. @internal
 */
export function canBeginWith({ sql, values }: DriverStatement): boolean {
  if (!/^\s*select\b/i.test(sql) || sql.includes(';') || !isPlain(values)) return false
  const bare = bareText(sql)
  return !/\binto\b/i.test(bare) && !/\/\*/.test(bare)
}

/**
 * Begins a transaction with its first SELECT in one round trip, as a compound statement of MariaDB
 * (https://mariadb.com/kb/en/begin-end/). Where that cannot be parsed they are sent one after the other. @internal
 */
export async function beginWith(lease: Lease, statement: DriverStatement, limits: WaitOptions): Promise<DriverResult> {
  const { connection } = lease
  try {
    // On a line of its own: the statement may end in a comment.
    const sql = `BEGIN NOT ATOMIC ${BEGIN}; ${statement.sql}\n; END`
    const [results, fields] = await lease.run('query', { ...statement, sql }, limits)
    return [(results as readonly unknown[])[0], (fields as readonly unknown[])[0]]
  } catch (error) {
    const { outcome } = classify(error)
    if (connection.lost !== undefined || (outcome !== 'statementFailed' && outcome !== 'lockWait')) throw error
    // Which of the two has failed is not known, and what comes next must not run outside of a transaction.
    await lease.run('query', { sql: 'ROLLBACK AND CHAIN' }, limits)
    if ((error as { errno?: unknown }).errno !== ER_PARSE) throw error
    const result = await lease.run('query', statement, limits)
    connection.hasCompound = false
    return result
  }
}

function isPlain(values: unknown): boolean {
  if (values === undefined) return true
  return Array.isArray(values) && values.every((value) => isPlainValue(value))
}

function isPlainValue(value: unknown): boolean {
  if (typeof value === 'string') return !value.includes(';')
  return typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean' || value === null
}
