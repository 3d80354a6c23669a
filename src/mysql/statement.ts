import { bareText } from './bare-text.js'
import type { WaitOptions } from '../core/time-limit.js'
import type { DriverStatement, QueryOptions } from './driver.js'

/** A statement in mysql2's object form (`rowsAsArray`, `typeCast`, `nestTables`, ...), limits included. */
export interface StatementOptions extends WaitOptions, Omit<QueryOptions, 'values'> {
  values?: unknown
}

/** A read in object form. */
export interface ReadOptions extends StatementOptions {
  /**
   * Sees everything that was committed in the cluster before the call, by whatever client. Costs the node's wait until it
   * has applied that; the limit bounds it. @default false
   */
  causal?: boolean
}

/** A statement whose rows are streamed, in object form. The limits are for the whole stream, until its last row is read. */
export interface StreamOptions extends StatementOptions {
  /** Rows that wait to be read before the server is held back. @default 16 */
  highWaterMark?: number
}

/** A statement apart from what is not mysql2's. @internal */
export interface Statement {
  readonly driver: DriverStatement
  readonly limits: WaitOptions
  readonly isCausal: boolean
  readonly highWaterMark: number | undefined
}

const NO_OPTIONS = Object.freeze({ limits: Object.freeze({}), isCausal: false, highWaterMark: undefined })

/**
 * Takes both of mysql2's forms. mysql2's own limit `timeout` is taken for ours: its own would leave the connection
 * unusable. @internal
 */
export function toStatement(sql: string | StatementOptions, values?: unknown): Statement {
  if (typeof sql === 'string') return { driver: values === undefined ? { sql } : { sql, values }, ...NO_OPTIONS }
  const { timeout, timeoutMs = limitOf(timeout), signal, causal, highWaterMark, ...rest } = sql as AnyOptions
  return {
    driver: values === undefined ? rest : { ...rest, values },
    limits: { timeoutMs, signal },
    isCausal: causal === true,
    highWaterMark,
  }
}

type AnyOptions = ReadOptions & StreamOptions

/** With mysql2 no `timeout` is 0. */
function limitOf(timeout: number | undefined): number | undefined {
  return timeout !== undefined && timeout > 0 ? timeout : undefined
}

const READ_VERB = /^[\s(]*(?:select|show|describe|desc|explain|table|values)\b/i
/** Locks, assignments, output, several statements and executable comments: not reads, or not only. */
const SIDE_EFFECT =
  /\bfor\s+update\b|\bfor\s+share\b|\block\s+in\b|\binto\b|:=|(?<!@)@(?!@)|;\s*\S|\/\*|\bnext\s+value\s+for\b|\banalyze\b/i
/** Words that may stand before a parenthesis without being a function, and functions that only compute. */
const PURE = new Set(
  (
    'select from where and or not in exists any all some as on using join values over partition by order group having limit union ' +
    'except intersect when then else case between like with recursive distinct interval count sum min max avg std stddev variance ' +
    'bit_and bit_or bit_xor group_concat json_arrayagg json_objectagg coalesce ifnull nullif if abs ceil ceiling floor round sign ' +
    'mod pow power sqrt exp ln log log2 log10 greatest least concat concat_ws substring substr left right length char_length ' +
    'lower upper lcase ucase trim ltrim rtrim replace reverse repeat lpad rpad locate instr position field find_in_set elt hex ' +
    'unhex md5 sha1 sha sha2 crc32 ascii ord char format strcmp cast convert binary date time timestamp year month day hour minute ' +
    'second quarter week weekday dayofweek dayofyear date_add date_sub adddate subdate datediff timediff timestampdiff ' +
    'timestampadd date_format str_to_date from_unixtime unix_timestamp now curdate curtime current_timestamp utc_timestamp ' +
    'json_extract json_value json_unquote json_contains json_length json_keys json_object json_array json_valid inet_aton ' +
    'inet_ntoa row_number rank dense_rank lag lead first_value last_value version database schema user current_user isnull'
  ).split(' '),
)

/**
 * True when repeating the statement provably changes nothing: a SELECT, SHOW or EXPLAIN without locks, assignments,
 * output or any function that is not known to compute only. A stored function can write. @internal
 */
export function isProvablyRead(sql: string): boolean {
  if (!isPlainRead(sql)) return false
  return [...bareText(sql).matchAll(/([\w$]+)\s*\(/g)].every(([, name]) => PURE.has((name as string).toLowerCase()))
}

/** True for a read as its caller sees it: what goes through the reader, functions of any kind included. @internal */
export function isPlainRead(sql: string): boolean {
  const bare = bareText(sql)
  return READ_VERB.test(bare) && !SIDE_EFFECT.test(bare)
}

/**
 * True for one statement that cannot do a part of its work and then fail: several in one text can, and a procedure can.
 * @internal
 */
export function isSingleStatement(sql: string): boolean {
  const bare = bareText(sql)
  return !/;\s*\S/.test(bare) && !/\/\*/.test(bare) && !/^\s*(?:call|execute|begin\s+not)\b/i.test(bare)
}

const STAYS_OPEN =
  /^[\s(]*(?:select|with|values|insert|update|delete|replace|show|describe|desc|explain|savepoint|set)\b/i

/** True for a statement that surely does not commit the transaction it runs in. @internal */
export function cannotCommit(sql: string): boolean {
  return isSingleStatement(sql) && STAYS_OPEN.test(bareText(sql)) && !/\bautocommit\b/i.test(sql)
}

const CHANGES_NOTHING = /^[\s(]*(?:begin(?!\s+not\b)|start\s+transaction|set\s+(?:session\s+)?transaction|savepoint)\b/i

/** True for a statement that only prepares others to come; what it did is gone with its connection. @internal */
export function isPreparation(sql: string): boolean {
  return isSingleStatement(sql) && CHANGES_NOTHING.test(bareText(sql))
}

/** True for a text that does nothing but begin a transaction. @internal */
export function isBegin(sql: string): boolean {
  return /^\s*(?:begin(?:\s+work)?|start\s+transaction)\s*;?\s*$/i.test(sql)
}

/** True for a text that does nothing but commit. @internal */
export function isCommit(sql: string): boolean {
  return /^\s*commit(?:\s+work)?\s*;?\s*$/i.test(sql)
}

/** True for a text that does nothing but roll all of a transaction back. @internal */
export function isRollback(sql: string): boolean {
  return /^\s*rollback(?:\s+work)?\s*;?\s*$/i.test(sql)
}

/** True for a ROLLBACK TO a savepoint. @internal */
export function isRollbackTo(sql: string): boolean {
  return /^\s*rollback(?:\s+work)?\s+to\b/i.test(sql)
}

/** True for a CALL, which may do anything to the transaction it runs in. @internal */
export function isCall(sql: string): boolean {
  return /^\s*call\b/i.test(bareText(sql))
}

/** Ends the transaction and begins another, which no flag of the server shows. */
const BEGINS = /(?:^|;)\s*(?:begin(?!\s+not\b)|start\s+transaction|xa|(?:commit|rollback)\b[^;]*\bchain)\b/i

/** True for a text that ends a transaction and leaves the connection in another one. @internal */
export function beginsAnother(sql: string): boolean {
  // Most texts have none of these words: looking for them costs less than taking the text apart.
  return /\b(?:begin|start|xa|chain)\b/i.test(sql) && BEGINS.test(bareText(sql))
}
