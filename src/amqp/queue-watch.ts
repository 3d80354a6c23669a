import { TimeoutError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { sleep } from '../core/timing.js'
import type { Channel } from './channel.js'
import { isQueueGone } from './classify.js'
import type { Session } from './session.js'

/** A consumer that gets nothing has its queue asked for so often, in milliseconds. */
const INTERVAL_MS = 5000

/**
 * Ends a consumer's channel when its queue is gone.
 *
 * The broker says so by basic.cancel, but not always: RabbitMQ 3.10 has been seen to delete a queue without a word to its
 * consumer, which would wait for ever. While messages come nothing is asked. Never rejects. @internal
 */
export async function watchQueue(
  session: Session,
  channel: Channel,
  queue: string,
  delivered: () => number,
): Promise<void> {
  const stop = new AbortController()
  channel.ending.on(() => stop.abort())
  try {
    for (;;) {
      const before = delivered()
      await sleep(INTERVAL_MS, stop.signal)
      if (delivered() === before && (await isGone(session, queue, stop.signal))) channel.dismiss()
    }
  } catch {
    // The channel has ended.
  }
}

/** No answer is no news: it is asked again. */
async function isGone(session: Session, queue: string, signal: AbortSignal): Promise<boolean> {
  let probe: Channel | undefined
  try {
    probe = await session.openChannel()
    const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, `queue '${queue}' asked for`)
    await waitWithin(probe.raw.checkQueue(queue), { timeoutMs: INTERVAL_MS, signal }, late)
    return false
  } catch (error) {
    return isQueueGone(probe?.ending.value?.error ?? error)
  } finally {
    probe?.dismiss()
  }
}
