/** One row, by column name. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as mysql2: a column's type is known to the caller only
export type Row = Record<string, any>

/** What a statement without rows returns. */
export interface ResultHeader {
  readonly affectedRows: number
  readonly insertId: number
  readonly changedRows: number
  readonly info: string
  readonly warningStatus: number
  readonly serverStatus: number
}

/** A column of a result. */
export interface Field {
  readonly name: string
  readonly [property: string]: unknown
}

/** `[rows, fields]`, as mysql2/promise returns it. */
export type QueryResult<T> = [rows: T, fields: Field[]]
