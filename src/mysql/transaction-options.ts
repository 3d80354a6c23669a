import { InvalidOptionError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'

const ISOLATION_LEVELS = ['READ UNCOMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'] as const

/** Options of `pool.transaction`. */
export interface TransactionOptions extends WaitOptions {
  /** How often the function is run again at most. @default the pool's `maxRetries`, 20 */
  readonly maxRetries?: number
  readonly isolationLevel?: (typeof ISOLATION_LEVELS)[number]
  /** The server refuses writes. */
  readonly readOnly?: boolean
  /**
   * Asks the commit fence when the answer to COMMIT was lost, so that the function is committed exactly once and its
   * caller need not care. Costs one more insert per attempt, into the table `openstack_ha_fence`, which is made when it
   * is missing. Rejects with {@link FenceUnavailableError} when it cannot be had. @default the pool's `exactlyOnce`
   */
  readonly exactlyOnce?: boolean
}

/** Refuses what would be sent to the server as it is, or would repeat for ever. @internal */
export function checkTransactionOptions({ isolationLevel, maxRetries }: TransactionOptions): void {
  if (isolationLevel !== undefined && !ISOLATION_LEVELS.includes(isolationLevel)) {
    throw new InvalidOptionError('isolationLevel', `must be one of ${ISOLATION_LEVELS.join(', ')}`)
  }
  if (maxRetries !== undefined && !(Number.isSafeInteger(maxRetries) && maxRetries >= 0)) {
    throw new InvalidOptionError('maxRetries', 'must be a whole number of at least 0')
  }
}
