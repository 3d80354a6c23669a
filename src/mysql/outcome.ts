import { isHAError, toError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import { abortReason } from '../core/timing.js'
import { classify } from './classify.js'
import type { DriverResult } from './driver.js'
import { CommitOutcomeUnknownError, StatementOutcomeUnknownError } from './errors.js'
import type { Lease } from './lease.js'
import { cannotCommit, isPreparation, isProvablyRead } from './statement.js'

/**
 * Says "unknown" of a statement whose answer was lost and that may have changed data for good: any but a read in
 * autocommit, and within a transaction one that may have committed it. Other errors stay as they are. @internal
 */
export function withOutcome(error: unknown, lease: Lease, sql: string, wasInTransaction = false): unknown {
  if (!isUnknown(error) || isTimeLimit(error) || wasNotSent(error)) return error
  if (wasInTransaction)
    return cannotCommit(sql) ? error : new CommitOutcomeUnknownError(lease.node.name, toError(error))
  return isProvablyRead(sql) || isPreparation(sql)
    ? error
    : new StatementOutcomeUnknownError(lease.node.name, toError(error))
}

/** Sends COMMIT; unless the server itself says what became of it, it is {@link CommitOutcomeUnknownError}. @internal */
export async function commit(lease: Lease, limits: WaitOptions = {}): Promise<DriverResult> {
  const lostBefore = lease.connection.lost
  if (lostBefore !== undefined) throw lostBefore
  if (limits.signal?.aborted === true) throw abortReason(limits.signal)
  try {
    return await lease.commit(limits)
  } catch (error) {
    throw isVerdict(error) || wasNotSent(error) ? error : new CommitOutcomeUnknownError(lease.node.name, toError(error))
  }
}

/** True for an answer of the server after which the transaction is surely not committed. */
function isVerdict(error: unknown): boolean {
  const { errno, sqlState } = error as { errno?: unknown; sqlState?: unknown }
  const isAnswer = typeof errno === 'number' && errno > 0 && typeof sqlState === 'string'
  return isAnswer && !isUnknown(error)
}

/** True when the statement that gave this error may have happened. */
function isUnknown(error: unknown): boolean {
  const { outcome } = classify(error)
  return outcome === 'lost' || outcome === 'interrupted'
}

/** True when no byte of the statement can have reached the server. @internal */
export function wasNotSent(error: unknown): boolean {
  return isHAError(error) && error.safeToRetry
}

/** The caller's own limit is reported as what it is; its documentation says that the statement may have happened. */
function isTimeLimit(error: unknown): boolean {
  return isHAError(error) && error.code === 'HA_TIMEOUT'
}
