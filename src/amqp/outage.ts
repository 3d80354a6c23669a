import type { FailoverEvent } from '../core/events.js'
import { now } from '../core/timing.js'
import type { Session } from './session.js'

/** The time from the loss of the connection that publishes until one serves again. @internal */
export class Outage {
  #loss: { readonly session: Session; readonly cause: Error; readonly at: number } | undefined

  /** The connection was lost; further losses before the end belong to the same outage. */
  begin(session: Session, cause: Error): void {
    this.#loss ??= { session, cause, at: now() }
  }

  get isOn(): boolean {
    return this.#loss !== undefined
  }

  /** A connection serves; returns the failover, if it is on another host. */
  end({ host: { name: to } }: Session): FailoverEvent | undefined {
    const loss = this.#loss
    this.#loss = undefined
    if (loss === undefined || loss.session.host.name === to) return undefined
    const { session, cause, at } = loss
    const { detectedMs } = session
    return { from: session.host.name, to, cause, detectedMs, elapsedMs: now() - at + detectedMs }
  }
}
