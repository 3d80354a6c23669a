import type { Channel } from './channel.js'
import { QueueKindError } from './errors.js'
import type { Session } from './session.js'

/** One declaration: something that the broker answers, on a channel that it closes when it refuses. @internal */
export interface Step {
  /** What it is about, for messages: `exchange 'events'`. */
  readonly what: string
  readonly run: (channel: Channel) => Promise<unknown>
}

/** amqplib has one request in flight per channel: more channels make fewer round trips. */
const MAX_CHANNELS = 8

/**
 * Runs steps side by side on channels of their own, in no particular order; one that fails harms no other.
 *
 * Resolves when all have run, or when the session has ended. `onFailed` hears of refusals, of the session's end not.
 * @internal
 */
export async function runSteps(
  session: Session,
  steps: readonly Step[],
  onFailed: (step: Step, error: unknown) => void,
): Promise<void> {
  const waiting = [...steps]
  const work = async (): Promise<void> => {
    let channel: Channel | undefined
    const isUsable = (): boolean => channel?.isOpen === true
    for (let step = waiting.shift(); step !== undefined && session.isOpen; step = waiting.shift()) {
      try {
        if (!isUsable()) channel = await session.openChannel()
        await step.run(channel as Channel)
      } catch (error) {
        if (!session.ending.hasCome || error instanceof QueueKindError) onFailed(step, error)
      }
    }
    channel?.dismiss()
  }
  await Promise.all(Array.from({ length: Math.min(MAX_CHANNELS, steps.length) }, work))
}
