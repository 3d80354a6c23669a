import { now } from '../core/timing.js'
import type { Entry } from './entry.js'
import type { Lane } from './lane.js'
import { WarmRoutes } from './warm-routes.js'

/** How long what is in flight may take to be confirmed, and then the one message over there. */
const LIMIT_MS = 500

/**
 * Sends one message over the connection that stands by while nothing else is in flight, so that order is kept.
 *
 * It is one of the caller's: it is sent again on the channel in use only when the channel over there is given up.
 * @internal
 */
export class Warming {
  readonly #routes = new WarmRoutes()
  readonly #onGivenBack: (entry: Entry) => void
  #entry: Entry | undefined
  #lane: Lane | undefined
  #timer: NodeJS.Timeout | undefined
  #beganAt = 0

  /** `onGivenBack` gets a message that was not sent. */
  constructor(onGivenBack: (entry: Entry) => void) {
    this.#onGivenBack = onGivenBack
  }

  /** True while other messages have to wait for it. */
  get isRunning(): boolean {
    return this.#entry !== undefined
  }

  /** True if the channel over there knows a route. */
  get isWarm(): boolean {
    return this.#routes.hasWarm
  }

  /** True for a message that had better go over there. One that must not be sent twice is not risked for it. */
  wants({ letter: { exchange, routingKey, isRepeatable } }: Entry): boolean {
    return isRepeatable !== false && this.#routes.wants(exchange, routingKey, now())
  }

  begin(entry: Entry): void {
    this.#entry = entry
    this.#beganAt = now()
    this.#limit(() => {
      this.abandon()
      this.#onGivenBack(entry)
    })
  }

  /** Nothing else is in flight: sends it. */
  send(lane: Lane, send: (lane: Lane, entry: Entry) => void): void {
    const entry = this.#entry
    if (entry === undefined || this.#lane !== undefined) return
    if (entry.isSettled) {
      this.#end()
      return
    }
    this.#lane = lane
    this.#limit(() => {
      this.#routes.failed(now())
      this.#end()
      lane.channel.dismiss()
    })
    send(lane, entry)
    if (!entry.isInFlight) this.#end()
  }

  /** The broker has it, or refused it, or its channel has ended. */
  onVerdict(entry: Entry, isConfirmed: boolean): void {
    if (entry !== this.#entry || this.#lane === undefined) return
    const { exchange, routingKey } = entry.letter
    const { channel } = this.#lane
    if (isConfirmed) this.#routes.warmed(exchange, routingKey, { at: now(), tookMs: now() - this.#beganAt })
    else this.#routes.failed(now())
    this.#end()
    // One on which the queue was refused once may go on refusing: it must not take over.
    if (!isConfirmed) channel.dismiss()
  }

  /** Ends one that was not sent; gives its message. */
  abandon(): Entry | undefined {
    if (this.#lane !== undefined) return undefined
    const entry = this.#entry
    if (entry !== undefined) this.#routes.failed(now())
    this.#end()
    return entry
  }

  /** The channel over there is a fresh one. */
  cool(): void {
    this.#routes.cool()
  }

  /** Ends its watch over what it sent. */
  stop(): void {
    this.#end()
  }

  #end(): void {
    clearTimeout(this.#timer)
    this.#entry = undefined
    this.#lane = undefined
  }

  #limit(onLate: () => void): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(onLate, LIMIT_MS).unref()
  }
}
