import type { Done } from './command.js'
import { toStatement, type Statement, type StatementOptions } from './statement.js'

/** A statement as it was given to mysql2's `query` or `execute`, and its callback. @internal */
export interface Call {
  readonly statement: Statement
  readonly done: Done | undefined
}

/** Takes all the forms of mysql2's arguments: text or object, with values or without, the callback last. @internal */
export function toCall(sql: string | Readonly<Record<string, unknown>>, values: unknown, done: Done | undefined): Call {
  const isLast = typeof values === 'function'
  const statement = toStatement(sql as string | StatementOptions, isLast ? undefined : values)
  return { statement, done: isLast ? (values as Done) : done }
}
