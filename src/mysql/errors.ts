import { HAError } from '../core/errors.js'

/** What is known of one host when no writer can be had. */
export interface HostReason {
  readonly host: string
  readonly state: string
  readonly error: Error | undefined
}

/** No node may be written to, and none became writable within the limit. Names every host with its state. */
export class NoWriterError extends HAError {
  readonly code = 'HA_NO_WRITER'
  override readonly safeToRetry = true
  readonly hosts: readonly HostReason[]

  constructor(hosts: readonly HostReason[], waitedMs?: number) {
    const states = hosts.map(
      ({ host, state, error }) => `${host} ${state}${error === undefined ? '' : ` (${error.message})`}`,
    )
    const waited = waitedMs === undefined ? '' : ` after ${Math.round(waitedMs)} ms`
    super(`no writable node${waited}: ${states.join('; ')}`, {
      cause: hosts.find(({ error }) => error !== undefined)?.error,
    })
    this.hosts = hosts
  }
}

/**
 * The answer to a statement that may have changed data was lost: it happened, or it did not.
 *
 * Nothing was repeated. `sqlState` is 08007 (transaction resolution unknown) of the SQL standard.
 */
export class StatementOutcomeUnknownError extends HAError {
  readonly code = 'HA_OUTCOME_UNKNOWN'
  readonly sqlState = '08007'
  /** `host:port` of the node that was asked. */
  readonly host: string

  constructor(host: string, cause: Error, what = 'the statement') {
    super(`the answer to ${what} was lost, its outcome is unknown (${host}): ${cause.message}`, { cause })
    this.host = host
  }
}

/**
 * The answer to COMMIT was lost: the transaction is committed, or it is not. It was not run again.
 *
 * With `exactlyOnce` it means that the commit fence had no verdict in time, and `fenceError` says why.
 */
export class CommitOutcomeUnknownError extends StatementOutcomeUnknownError {
  readonly fenceError: Error | undefined

  constructor(host: string, cause: Error, fenceError?: Error) {
    super(host, cause, 'COMMIT')
    this.fenceError = fenceError
    if (fenceError !== undefined) this.message += `; no verdict of the commit fence: ${fenceError.message}`
  }
}

/**
 * The transaction ended before its COMMIT: by a statement that commits implicitly (DDL), by a COMMIT or ROLLBACK of the
 * caller's own, or by a deadlock whose error the caller swallowed. What ran after that point was refused. It is not run
 * again, because part of it may be committed.
 */
export class TransactionEndedError extends HAError {
  readonly code = 'HA_TRANSACTION_ENDED'

  constructor(reason: string, cause?: Error) {
    super(`the transaction ended before its COMMIT: ${reason}`, cause === undefined ? undefined : { cause })
  }
}

/** More callers wait for a connection than `queueLimit` allows; nothing was sent. */
export class QueueFullError extends HAError {
  readonly code = 'HA_BACKPRESSURE'
  override readonly safeToRetry = true

  constructor(waiting: number) {
    super(`${waiting} callers wait for a connection already (queueLimit)`)
  }
}

/**
 * `exactlyOnce` was asked for and the commit fence cannot be had: its table is missing and may not be created (the
 * message says what to run), or there are several hosts without Galera, between which it proves nothing.
 */
export class FenceUnavailableError extends HAError {
  readonly code = 'HA_FENCE_UNAVAILABLE'
  override readonly safeToRetry = true

  constructor(problem: string, cause?: unknown) {
    super(`exactlyOnce is not possible: ${problem}`, cause === undefined ? undefined : { cause })
  }
}

/** The connection is still sending the rows of a stream. Nothing was sent: read the stream to its end, or destroy it. */
export class StreamOpenError extends HAError {
  readonly code = 'HA_STREAM_OPEN'
  override readonly safeToRetry = true

  constructor(host: string) {
    super(`a stream of rows is still open on this connection (${host}): what waited for its end could wait for ever`)
  }
}

/** `initSql` or `onConnection` failed on a new connection, which was closed; `cause` says why. */
export class SessionSetupError extends HAError {
  readonly code = 'HA_SESSION_SETUP'
  override readonly safeToRetry = true
  /** `host:port` of the connection. */
  readonly host: string

  constructor(option: 'initSql' | 'onConnection', host: string, cause: Error) {
    super(`${option} failed on a new connection to ${host}: ${cause.message}`, { cause })
    this.host = host
  }
}
