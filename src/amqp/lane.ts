import { now } from '../core/timing.js'
import type { Channel, ChannelEnd } from './channel.js'
import type { DriverConfirm, DriverReturn } from './driver.js'
import type { Entry } from './entry.js'
import { UnroutableError } from './errors.js'

/** Told what becomes of the messages on a lane. @internal */
export interface LaneListener {
  readonly onConfirmed: (entry: Entry) => void
  readonly onRefused: (entry: Entry) => void
  readonly onReturned: (entry: Entry) => void
  /** There is room again. */
  readonly onRoom: () => void
  /** The channel is gone; `entries` were not confirmed, oldest first. */
  readonly onEnded: (entries: readonly Entry[], end: ChannelEnd) => void
}

/**
 * A confirm channel with what is in flight on it.
 *
 * Delivery tags are counted here and not by amqplib's callbacks, which do not tell a refusal from a lost channel.
 * @internal
 */
export class Lane {
  readonly channel: Channel
  readonly openedAt: number = now()
  readonly #maxInFlight: number
  readonly #listener: LaneListener
  /** By delivery tag, so in the order of sending. */
  readonly #inFlight = new Map<number, Entry>()
  #nextTag = 1
  #isFull = false
  #isRetired = false
  #answeredAt = now()

  constructor(channel: Channel, maxInFlight: number, listener: LaneListener) {
    this.channel = channel
    this.#maxInFlight = maxInFlight
    this.#listener = listener
    channel.raw.on('ack', (confirm) => this.#settle(confirm, listener.onConfirmed))
    channel.raw.on('nack', (confirm) => this.#settle(confirm, listener.onRefused))
    channel.raw.on('return', (message) => this.#return(message))
    channel.raw.on('drain', () => {
      this.#isFull = false
      listener.onRoom()
    })
    channel.ending.on((end) => {
      const entries = [...this.#inFlight.values()]
      this.#inFlight.clear()
      for (const entry of entries) entry.lost()
      listener.onEnded(entries, end)
    })
  }

  get inFlightCount(): number {
    return this.#inFlight.size
  }

  /** How long the broker has owed a verdict without giving any, in milliseconds. */
  get silentMs(): number {
    return this.#inFlight.size === 0 ? 0 : now() - this.#answeredAt
  }

  get hasRoom(): boolean {
    return this.channel.isOpen && !this.#isFull && !this.#isRetired && this.#inFlight.size < this.#maxInFlight
  }

  /** Takes no further messages, and closes when what is in flight has its verdict. */
  retire(): void {
    this.#isRetired = true
    this.#closeIfDone()
  }

  /** Sends a message. Throws amqplib's error for one that cannot be encoded; nothing was sent then. */
  send(entry: Entry): void {
    const { exchange, routingKey, content } = entry.letter
    this.#isFull = !this.channel.raw.publish(exchange, routingKey, content, entry.nextProperties())
    entry.sent()
    if (this.#inFlight.size === 0) this.#answeredAt = now()
    this.#inFlight.set(this.#nextTag, entry)
    this.#nextTag += 1
  }

  #settle({ deliveryTag, multiple }: DriverConfirm, verdict: (entry: Entry) => void): void {
    this.#answeredAt = now()
    if (multiple) {
      for (const [tag, entry] of this.#inFlight) {
        if (tag > deliveryTag) break
        this.#inFlight.delete(tag)
        verdict(entry)
      }
    } else {
      const entry = this.#inFlight.get(deliveryTag)
      this.#inFlight.delete(deliveryTag)
      if (entry !== undefined) verdict(entry)
    }
    this.#closeIfDone()
    this.#listener.onRoom()
  }

  #closeIfDone(): void {
    if (this.#isRetired && this.#inFlight.size === 0) this.channel.dismiss()
  }

  /** A return precedes its confirmation on the same channel, so the oldest match is the right one. */
  #return({ fields, properties }: DriverReturn): void {
    for (const entry of this.#inFlight.values()) {
      const { letter } = entry
      if (entry.id !== properties.messageId || !letter.properties.mandatory || entry.returned !== undefined) continue
      const { replyCode = 312, replyText = 'NO_ROUTE' } = fields
      entry.returned = new UnroutableError(entry.id, letter.exchange, letter.routingKey, replyCode, replyText)
      this.#listener.onReturned(entry)
      return
    }
  }
}
