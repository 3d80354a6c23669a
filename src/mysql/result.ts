import type { Field } from './driver.js'

/** One row, by column name. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as mysql2: a column's type is known to the caller only
export type Row = Record<string, any>

/** `[rows, fields]`, as mysql2/promise returns it. */
export type QueryResult<T> = [rows: T, fields: Field[]]
