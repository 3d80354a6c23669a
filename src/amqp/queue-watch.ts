import { TimeoutError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { sleep } from '../core/timing.js'
import type { Channel } from './channel.js'
import { isQueueGone } from './classify.js'
import type { Session } from './session.js'

/** A subscription as the watch sees it. @internal */
export interface WatchedSubscription {
  readonly session: Session
  readonly channel: Channel
  readonly queue: string
  /** True when messages that are ready should be delivered here; false for a stream, which keeps those that were read. */
  readonly isOwedReady: () => boolean
  /** How long nothing may come until the queue is asked for, in milliseconds. */
  readonly intervalMs: () => number
}

/** What is wrong with a subscription: the queue does not exist, or has messages and delivers none. @internal */
export type WatchFinding = 'gone' | 'starving'

const ANSWER_LIMIT_MS = 5000
/** A message that was ready when it was counted may be on its way: it gets so long to arrive. */
const ARRIVAL_MS = 300

/**
 * Looks after a subscription that gets nothing, and returns what is wrong with it, or `undefined` when its channel ended.
 *
 * The broker does not always say that it deleted a queue (seen on RabbitMQ 3.10). And while the leader of a quorum queue
 * changes, a node may answer a subscription and never deliver on it. While messages come nothing is asked. Never rejects.
 * @internal
 */
export async function watchQueue(watched: WatchedSubscription): Promise<WatchFinding | undefined> {
  const { channel, isOwedReady, intervalMs } = watched
  const stop = new AbortController()
  channel.ending.on(() => stop.abort())
  try {
    for (;;) {
      const before = channel.deliveredCount
      const isSilent = (): boolean => channel.deliveredCount === before && channel.isSettled
      await sleep(intervalMs(), stop.signal)
      if (channel.deliveredCount !== before) continue
      const readyCount = await countReady(watched, stop.signal)
      if (stop.signal.aborted) return undefined
      if (readyCount === 'gone') return 'gone'
      if (!isOwedReady() || readyCount === 0 || !isSilent()) continue
      await sleep(ARRIVAL_MS, stop.signal)
      if (isSilent()) return 'starving'
    }
  } catch {
    // The channel has ended.
    return undefined
  }
}

/** No answer is no news: it is asked again. */
async function countReady({ session, queue }: WatchedSubscription, signal: AbortSignal): Promise<number | 'gone'> {
  let probe: Channel | undefined
  try {
    probe = await session.openChannel()
    const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, `queue '${queue}' asked for`)
    const answer = await waitWithin(probe.raw.checkQueue(queue), { timeoutMs: ANSWER_LIMIT_MS, signal }, late)
    return answer.messageCount
  } catch (error) {
    return isQueueGone(probe?.ending.value?.error ?? error) ? 'gone' : 0
  } finally {
    probe?.dismiss()
  }
}
