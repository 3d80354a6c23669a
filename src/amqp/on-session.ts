import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { isTemporary } from './classify.js'
import type { Session } from './session.js'

/**
 * Runs something that may be repeated on the connection in use, and on the next one when that is lost meanwhile.
 *
 * Rejects with the broker's refusal, or when the wait ends. @internal
 */
export async function onSession(
  next: (signal: AbortSignal) => Promise<Session>,
  run: (session: Session) => Promise<void>,
  wait: WaitOptions,
  late: (elapsedMs: number) => Error,
): Promise<void> {
  const stop = new AbortController()
  const repeat = async (): Promise<void> => {
    for (;;) {
      const session = await next(stop.signal)
      try {
        await run(session)
        return
      } catch (error) {
        if (session.isOpen || stop.signal.aborted || !isTemporary(error)) throw error
      }
    }
  }
  await waitWithin(repeat(), wait, late, (reason) => stop.abort(reason))
}
