import { remaining, type WaitOptions } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import { classify } from './classify.js'
import type { DriverResult, DriverStatement } from './driver.js'
import type { Lease } from './lease.js'

/** @internal */
export const BEGIN = 'START TRANSACTION'
const ER_PARSE = 1064
/** On a line of its own at the end: the statement may end in a comment. */
const BEFORE = `BEGIN NOT ATOMIC ${BEGIN}; `
const AFTER = '\n; END'

/**
 * True for a statement that can be sent together with the BEGIN before it: a SELECT, since whatever becomes of the two it
 * can be repeated.
 *
 * No semicolon may be anywhere, quoted or not, and no value but plain ones: what was put together carelessly must not
 * become several statements here when the server would refuse it elsewhere. @internal
 */
export function canBeginWith({ sql, values }: DriverStatement): boolean {
  return /^\s*select\b/i.test(sql) && !/;|\binto\b|\/\*M?!/i.test(sql) && isPlain(values)
}

/**
 * Begins a transaction with its first SELECT in one round trip, as a compound statement of MariaDB
 * (https://mariadb.com/kb/en/begin-end/). Where that cannot be parsed they are sent one after the other. @internal
 */
export async function beginWith(lease: Lease, statement: DriverStatement, limits: WaitOptions): Promise<DriverResult> {
  const { connection } = lease
  const startedAt = now()
  try {
    const sql = `${BEFORE}${statement.sql}${AFTER}`
    const [results, fields] = await lease.run('query', { ...statement, sql }, limits)
    return [(results as readonly unknown[])[0], (fields as readonly unknown[])[0]]
  } catch (error) {
    showOwnText(error)
    const { connection: fate, outcome } = classify(error)
    const isOver = connection.lost !== undefined || fate === 'destroy' || outcome === 'rolledBack' || outcome === 'lost'
    // Which of the two has failed is not known, and what comes next must not run outside of a transaction.
    if (isOver || !(await beginsAnew(lease, remaining(limits, startedAt)))) throw error
    if ((error as { errno?: unknown }).errno !== ER_PARSE) throw error
    const result = await lease.run('query', statement, remaining(limits, startedAt))
    connection.hasCompound = false
    return result
  }
}

/** mysql2 tells in its errors what was sent. */
function showOwnText(error: unknown): void {
  const told = error as { sql?: unknown }
  if (typeof told.sql === 'string' && told.sql.startsWith(BEFORE))
    told.sql = told.sql.slice(BEFORE.length, -AFTER.length)
}

async function beginsAnew(lease: Lease, limits: WaitOptions): Promise<boolean> {
  try {
    await lease.run('query', { sql: 'ROLLBACK AND CHAIN' }, limits)
    return true
  } catch {
    return false
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
