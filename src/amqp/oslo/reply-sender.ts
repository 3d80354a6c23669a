import { diagnose } from '../../core/diagnostics.js'
import { toError } from '../../core/errors.js'
import { now, sleep } from '../../core/timing.js'
import { UnroutableError } from '../errors.js'
import type { Payload } from './envelope.js'
import type { TransportPort } from './port.js'
import { newId } from './queues.js'
import { toLetter } from './sender.js'

const RETRY_PAUSE_MS = 250
const MAX_OBSOLETE = 200
const OBSOLETE_MS = 60_000

/**
 * Sends replies, and goes on trying while a reply queue is not there: its owner may be on its way to another broker. A
 * queue that stays away is remembered, and gets nothing more for a minute.
 * @internal
 */
export class ReplySender {
  readonly #port: TransportPort
  readonly #signal: AbortSignal
  readonly #obsolete = new Map<string, number>()

  /** `signal` ends the attempts; what has been given to the outbox still goes out. */
  constructor(port: TransportPort, signal: AbortSignal) {
    this.#port = port
    this.#signal = signal
  }

  /** Resolves when the reply was confirmed or given up; never rejects. */
  async send(queue: string, fields: Payload): Promise<void> {
    if (this.#isObsolete(queue)) return
    const limitMs = this.#port.options.missingConsumerRetryTimeoutMs
    const startedAt = now()
    try {
      const id = newId()
      const payload = { ...fields, _unique_id: id }
      const letter = toLetter(
        { to: undefined, routingKey: queue, payload, id, mandatory: true, isRepeatable: true },
        this.#port,
      )
      for (let leftMs = limitMs; ; leftMs = Math.max(1, limitMs - (now() - startedAt))) {
        try {
          await this.#port.publish(letter, { timeoutMs: leftMs })
          return
        } catch (error) {
          if (!(error instanceof UnroutableError) || now() - startedAt >= limitMs) throw error
        }
        await sleep(RETRY_PAUSE_MS, this.#signal)
      }
    } catch (error) {
      if (error instanceof UnroutableError) this.#giveUp(queue)
      diagnose('amqp', 'replyLost', { queue, error: toError(error) })
    }
  }

  #isObsolete(queue: string): boolean {
    const until = this.#obsolete.get(queue)
    if (until === undefined) return false
    if (until > now()) return true
    this.#obsolete.delete(queue)
    return false
  }

  #giveUp(queue: string): void {
    this.#obsolete.set(queue, now() + OBSOLETE_MS)
    if (this.#obsolete.size <= MAX_OBSOLETE) return
    for (const oldest of this.#obsolete.keys()) {
      this.#obsolete.delete(oldest)
      return
    }
  }
}
