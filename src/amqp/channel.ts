import { ConnectionLostError } from '../core/errors.js'
import type { DriverChannel } from './driver.js'
import { Ending } from './ending.js'

/** Why a channel is no more. @internal */
export interface ChannelEnd {
  readonly error: Error
  /** True when the broker closed this channel for an error on it, and the connection goes on. */
  readonly isRefusal: boolean
}

/**
 * A channel of amqplib with its events caught.
 *
 * Its `'error'` must have a listener, or one refused operation ends the whole connection with every innocent channel.
 * @internal
 */
export class Channel {
  readonly raw: DriverChannel
  readonly ending: Ending<ChannelEnd> = new Ending()

  constructor(raw: DriverChannel, hostName: string) {
    this.raw = raw
    raw.on('error', (error) => this.ending.come({ error, isRefusal: true }))
    raw.on('close', () =>
      this.ending.come({ error: new ConnectionLostError(hostName, 'the channel was closed'), isRefusal: false }),
    )
  }

  get isOpen(): boolean {
    return !this.ending.hasCome
  }

  /** Closes the channel without waiting: nobody needs the answer, and a silent broker would never give one. */
  dismiss(): void {
    if (!this.isOpen) return
    this.ending.come({ error: new Error('the channel was given up'), isRefusal: false })
    this.attempt(() => void this.raw.close().catch(() => undefined))
  }

  /** Runs something that amqplib refuses by a throw when the channel has just ended; false when it did. */
  attempt(run: () => void): boolean {
    try {
      run()
      return true
    } catch {
      return false
    }
  }
}
