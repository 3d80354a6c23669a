import { isHAError } from '../../../src/core/errors.js'
import type { Outcome } from '../operation.js'

/** What an error of this package says about the operation: `safeToRetry` promises that nothing can have happened. */
export function outcomeOf(error: unknown): Outcome {
  return isHAError(error) && error.safeToRetry ? 'failed' : 'unknown'
}
