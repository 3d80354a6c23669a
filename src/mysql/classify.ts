import { isHAError } from '../core/errors.js'

/** What an error means for the connection that gave it. @internal */
export type ConnectionFate = 'keep' | 'destroy'

/**
 * What an error means for its node: `down` it refuses service, `suspect` ask it, `busy` it has no room but is alive,
 * `readOnly` it takes no writes, `misconfigured` our credentials do not fit it. @internal
 */
export type NodeHint = 'none' | 'down' | 'suspect' | 'busy' | 'readOnly' | 'misconfigured'

/**
 * What is known of the statement: `lost` maybe executed, `notExecuted` surely not, `rolledBack` the whole transaction
 * is gone, `statementFailed` an ordinary SQL error, `lockWait` the statement is rolled back and the transaction open.
 * @internal
 */
export type Outcome = 'lost' | 'notExecuted' | 'rolledBack' | 'statementFailed' | 'lockWait'

/** @internal */
export interface Classification {
  readonly connection: ConnectionFate
  readonly node: NodeHint
  readonly outcome: Outcome
}

type Row = readonly [codes: readonly (number | string)[], ConnectionFate, NodeHint, Outcome]

/**
 * The error table: by errno or, for socket errors, by code. mysql2 has no `code` for MariaDB's own numbers, and message
 * texts are never looked at first. Sources: MariaDB and MySQL error references, Galera's documentation.
 */
const TABLE: readonly Row[] = [
  [['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN'], 'destroy', 'down', 'lost'],
  [['ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'ECONNRESET', 'EPIPE', 'ECONNABORTED'], 'destroy', 'suspect', 'lost'],
  [
    ['PROTOCOL_CONNECTION_LOST', 'PROTOCOL_SEQUENCE_TIMEOUT', 'PROTOCOL_PACKETS_OUT_OF_ORDER'],
    'destroy',
    'suspect',
    'lost',
  ],
  // Server has gone away, lost during query, out of sync, and the server's own network errors.
  [[2006, 2013, 2014, 2055, 1152, 1158, 1159, 1160, 1161, 1184], 'destroy', 'suspect', 'lost'],
  // WSREP has not yet prepared node for application use: not Primary, joining, rejecting queries.
  [[1047], 'destroy', 'suspect', 'lost'],
  // Shutdown in progress, and its variants.
  [[1053, 1077, 1079], 'destroy', 'suspect', 'lost'],
  // Connection or session killed, interaction timeout.
  [[1927, 3169, 4031], 'destroy', 'suspect', 'lost'],
  // Running with --read-only or super_read_only; 1290 has other meanings and is told apart below.
  [[1836], 'destroy', 'readOnly', 'notExecuted'],
  // Offline mode.
  [[3032], 'destroy', 'down', 'notExecuted'],
  // Too many connections, per-user limits: the node is alive, and moving the herd would fell the next.
  [[1040, 1203, 1226], 'destroy', 'busy', 'notExecuted'],
  // Host blocked because of many connection errors.
  [[1129], 'destroy', 'down', 'notExecuted'],
  // Out of memory, cannot create thread.
  [[1041, 1135], 'destroy', 'suspect', 'notExecuted'],
  // Credentials, privileges, unknown database, authentication plugins, expired passwords, locked accounts.
  [[1044, 1045, 1049, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 3159], 'keep', 'misconfigured', 'notExecuted'],
  // Deadlock, Galera certification failure or brute-force abort, XA and group replication rollbacks, snapshot conflict.
  [[1213, 1614, 3101, 1020], 'keep', 'none', 'rolledBack'],
  [[1205], 'keep', 'none', 'lockWait'],
  // Packet too large: the server ends the connection, and the same again would end the next.
  [[1153], 'destroy', 'none', 'statementFailed'],
  // Error during COMMIT; certification outcome not known.
  [[1180, 3100], 'destroy', 'suspect', 'lost'],
]

const BY_CODE: ReadonlyMap<number | string, Classification> = new Map(
  TABLE.flatMap(([codes, connection, node, outcome]) =>
    codes.map((code) => [code, Object.freeze({ connection, node, outcome })] as const),
  ),
)

const APPLICATION_ERROR: Classification = Object.freeze({
  connection: 'keep',
  node: 'none',
  outcome: 'statementFailed',
})
const LOST: Classification = Object.freeze({ connection: 'destroy', node: 'suspect', outcome: 'lost' })
const READ_ONLY: Classification = Object.freeze({ connection: 'destroy', node: 'readOnly', outcome: 'notExecuted' })
const ER_OPTION_PREVENTS_STATEMENT = 1290

interface DriverError {
  readonly errno?: unknown
  readonly code?: unknown
  readonly sqlState?: unknown
  readonly fatal?: unknown
  readonly sqlMessage?: unknown
}

/** Looks an error up in the table: own errors, then errno, then code, then SQLSTATE class, then mysql2's `fatal`. @internal */
export function classify(error: unknown): Classification {
  if (isHAError(error)) return error.code === 'HA_CONNECTION_LOST' || error.code === 'HA_TIMEOUT' ? LOST : nested(error)
  if (error instanceof AggregateError && error.errors.length > 0) return classify(error.errors.at(-1))
  const { errno, code, sqlState, fatal, sqlMessage } = (error ?? {}) as DriverError
  if (errno === ER_OPTION_PREVENTS_STATEMENT) {
    return typeof sqlMessage === 'string' && sqlMessage.includes('read-only') ? READ_ONLY : APPLICATION_ERROR
  }
  const known =
    BY_CODE.get(typeof errno === 'number' && errno > 0 ? errno : '') ??
    BY_CODE.get(typeof code === 'string' ? code : '')
  if (known !== undefined) return known
  if (typeof sqlState === 'string') {
    if (sqlState.startsWith('08')) return LOST
    if (sqlState === '40001' || sqlState === '40000') return BY_CODE.get(1213) as Classification
  }
  return fatal === true ? LOST : APPLICATION_ERROR
}

function nested(error: Error): Classification {
  return error.cause === undefined ? APPLICATION_ERROR : classify(error.cause)
}

/** True when the transaction that gave this error can be run again as a whole without doing anything twice. @internal */
export function isRerunnable(outcome: Outcome): boolean {
  return outcome !== 'statementFailed'
}
