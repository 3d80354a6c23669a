import { now } from '../core/timing.js'
import type { DriverConnection, DriverResult } from './driver.js'
import { classify } from './classify.js'
import { cannotCommit } from './statement.js'

/** SERVER_STATUS_IN_TRANS and SERVER_STATUS_AUTOCOMMIT of the OK packet. */
const IN_TRANSACTION = 1
const AUTOCOMMIT = 2

/**
 * A connection and what its server said of its transaction.
 *
 * The state comes from the status flags of OK packets, not from the SQL text: ORMs begin transactions in many spellings.
 * Result sets carry no flags here, but with autocommit on a SELECT neither begins nor ends a transaction. @internal
 */
export class Session {
  readonly connection: DriverConnection
  readonly #expiresAt: number
  #isInTransaction = false
  #isAutocommit = true
  #isSpoiled = false
  #isUnsure = false
  idleSince: number

  constructor(connection: DriverConnection, lifetimeMs: number) {
    this.connection = connection
    this.idleSince = now()
    this.#expiresAt = this.idleSince + lifetimeMs
  }

  get isInTransaction(): boolean {
    return this.#isInTransaction
  }

  /** True when an error may have left a transaction open: error packets carry no flags. */
  get isUnsure(): boolean {
    return this.#isUnsure
  }

  /** False once the connection is lost or must not be handed out again. */
  get isReusable(): boolean {
    return !this.#isSpoiled && this.connection.lost === undefined
  }

  get isExpired(): boolean {
    return now() >= this.#expiresAt
  }

  /** The connection is not to be handed out again. */
  spoil(): void {
    this.#isSpoiled = true
  }

  noteResult(result: DriverResult): void {
    const status = lastServerStatus(result)
    if (status === undefined) return
    this.#isUnsure = false
    this.#isAutocommit = (status & AUTOCOMMIT) !== 0
    this.#isInTransaction = (status & IN_TRANSACTION) !== 0 || !this.#isAutocommit
  }

  /** `sql` is what the server answered with an error. */
  noteError(error: unknown, sql: string): void {
    const { connection, outcome } = classify(error)
    if (connection === 'destroy') this.#isSpoiled = true
    if (outcome === 'rolledBack' || !cannotCommit(sql)) this.#isUnsure = true
    if (outcome !== 'rolledBack') return
    this.#isInTransaction = false
    // The next statement would open another transaction that nobody commits.
    if (!this.#isAutocommit) this.#isSpoiled = true
  }
}

/** The flags of the last OK packet of a result; `undefined` when there were only rows. */
function lastServerStatus([rows, fields]: DriverResult): number | undefined {
  if (isHeader(rows)) return rows.serverStatus
  // Of several results: fields are lists then, or missing where there are no rows.
  const [first] = Array.isArray(fields) ? (fields as unknown[]) : []
  if (!Array.isArray(rows) || (first !== undefined && !Array.isArray(first))) return undefined
  return rows.findLast(isHeader)?.serverStatus
}

function isHeader(value: unknown): value is { serverStatus: number } {
  // A row can have any columns, so the name of mysql2's class tells them apart.
  return (
    typeof value === 'object' &&
    value !== null &&
    (value as { constructor?: { name?: unknown } | null }).constructor?.name === 'ResultSetHeader'
  )
}
