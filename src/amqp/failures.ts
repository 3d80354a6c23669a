import { toError } from '../core/errors.js'
import { diagnose } from '../core/diagnostics.js'
import type { Verdict } from './delivery.js'
import { identity, messageId, type Message } from './message.js'

/** A handler failed. */
export interface Failure {
  readonly message: Message
  /** What the handler threw or rejected with. */
  readonly error: Error
  /** How often the message has failed in this process, this time included. */
  readonly failures: number
}

/**
 * What becomes of a message whose handler failed: back to the queue after a pause, rejected (dead-lettered, or dropped
 * where the queue has no dead-letter exchange), or acknowledged as if it had been handled.
 */
export type FailurePolicy = (failure: Failure) => 'requeue' | 'reject' | 'ack'

const DELIVERY_COUNT_HEADER = 'x-delivery-count'
const MAX_KEPT = 10_000

/** Applies a consumer's failure policy. `'requeue'` ends after `maxRequeues`; a function has the last word. @internal */
export function verdictOn(
  failure: Failure,
  onFailure: 'requeue' | 'reject' | FailurePolicy,
  maxRequeues: number,
): Verdict {
  const byDefault = failure.failures > maxRequeues ? 'reject' : 'requeue'
  if (onFailure === 'reject') return 'reject'
  if (onFailure === 'requeue') return byDefault
  try {
    const verdict = onFailure(failure)
    return ['requeue', 'reject', 'ack'].includes(verdict) ? verdict : byDefault
  } catch (error) {
    diagnose('amqp', 'listenerError', { error: toError(error) })
    return byDefault
  }
}

/**
 * How often each message failed in this process.
 *
 * The broker's own count is not used: classic queues have none, and that of quorum queues also counts lost connections,
 * so that a few failovers would reject a message whose handler failed once.
 * @internal
 */
export class FailureCounts {
  readonly #counts = new Map<string, number>()

  /** Counts one more failure and returns how many there were; `isRepeated` for a message that has come before. */
  add(message: Message, isRepeated: boolean): number {
    const key = identity(message)
    // Messages without an id share their count with those that say the same: one that comes for the first time has none.
    const before = isRepeated ? (this.#counts.get(key) ?? 0) : 0
    const count = Math.min(before + 1, mostFailures(message))
    this.#counts.delete(key)
    this.#counts.set(key, count)
    if (this.#counts.size > MAX_KEPT) {
      for (const oldest of this.#counts.keys()) {
        this.#counts.delete(oldest)
        break
      }
    }
    return count
  }

  /** Forgets a message that has been dealt with. */
  forget(message: Message): void {
    if (this.#counts.size > 0) this.#counts.delete(identity(message))
  }
}

/** How often a message without an id can have failed: a quorum queue counts how often it came back, for whatever reason. */
function mostFailures(message: Message): number {
  const returns = message.headers[DELIVERY_COUNT_HEADER]
  return messageId(message) === undefined && typeof returns === 'number' ? returns + 1 : Infinity
}
