import { TimeoutError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import type { AmqplibChannel, AmqplibConfirmChannel } from './driver.js'
import type { Session } from './session.js'

/** How `withChannel` runs. */
export interface ChannelOptions extends WaitOptions {
  /** True for a confirm channel, on the connection that publishes. @default false */
  readonly confirm?: boolean
}

/** A channel of amqplib: with confirms if that was asked for. */
export type RawChannel<O extends ChannelOptions> = O extends { readonly confirm: true }
  ? AmqplibConfirmChannel
  : AmqplibChannel

/** Runs `fn` on a channel of its own, which is closed afterwards. @internal */
export async function runOnChannel<T>(
  session: (signal: AbortSignal) => Promise<Session>,
  fn: (channel: AmqplibConfirmChannel) => Promise<T>,
  { confirm = false, timeoutMs, signal }: ChannelOptions,
): Promise<T> {
  const stop = new AbortController()
  const run = async (): Promise<T> => {
    const open = await session(stop.signal)
    const channel = await (confirm ? open.openConfirmChannel() : open.openChannel())
    const dismiss = (): void => channel.dismiss()
    stop.signal.addEventListener('abort', dismiss)
    try {
      stop.signal.throwIfAborted()
      const result = await fn(channel.raw as unknown as AmqplibConfirmChannel)
      // A round trip behind all that was sent: it has arrived when this is answered.
      if (channel.isOpen) await channel.raw.close().catch(() => undefined)
      return result
    } catch (error) {
      // amqplib's own error may say no more than that the channel is closed.
      throw channel.ending.value?.isRefusal === true ? channel.ending.value.error : error
    } finally {
      channel.dismiss()
    }
  }
  const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, 'withChannel')
  return waitWithin(run(), { timeoutMs, signal }, late, (reason) => stop.abort(reason))
}
