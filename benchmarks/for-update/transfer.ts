/** An amount that goes from one row to another. */
export interface Transfer {
  readonly from: number
  readonly to: number
  readonly amount: number
}

/** Rows 1 to so many, all of which start with the same balance. */
export const ROWS = 10
export const BALANCE = 1000

/** Runs one statement inside the transaction and returns its rows. */
export type Query = (sql: string, values: number[]) => Promise<unknown>

/** A client that transfers between rows, each time in a transaction of its own. */
export interface TransferClient {
  open(): Promise<void>
  /** Returns the host that has committed it. */
  transfer(table: string, transfer: Transfer): Promise<string>
  /** How often the commit fence gave which verdict, for clients that have one. */
  verdicts?(): Readonly<Record<string, number>>
  close(): Promise<void>
}

export function randomTransfer(): Transfer {
  const from = 1 + Math.floor(Math.random() * ROWS)
  const other = 1 + Math.floor(Math.random() * (ROWS - 1))
  return { from, to: other >= from ? other + 1 : other, amount: 1 + Math.floor(Math.random() * 100) }
}

/**
 * The statements of a transfer: both rows are locked in the order of their ids, so that on one node no two transfers
 * wait for each other, and what is written was computed from what was read, so that a lost update shows in the sum.
 */
export async function move(query: Query, table: string, { from, to, amount }: Transfer): Promise<void> {
  const rows = (await query(`SELECT id, balance FROM ${table} WHERE id IN (?, ?) ORDER BY id FOR UPDATE`, [
    from,
    to,
  ])) as readonly { readonly id: number; readonly balance: number }[]
  const balances = new Map(rows.map(({ id, balance }) => [id, balance]))
  const update = `UPDATE ${table} SET balance = ? WHERE id = ?`
  await query(update, [(balances.get(from) ?? NaN) - amount, from])
  await query(update, [(balances.get(to) ?? NaN) + amount, to])
}
