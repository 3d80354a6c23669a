import { now } from '../core/timing.js'
import type { Channel, ChannelEnd } from './channel.js'
import type { DriverConfirm, DriverReturn } from './driver.js'
import type { Entry } from './entry.js'
import { UnroutableError } from './errors.js'
import { InFlight } from './in-flight.js'

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

/** How many messages may be in flight; told of each round trip. @internal */
export interface LaneWindow {
  readonly size: number
  onRoundTrip(latencyMs: number, wasFull: boolean): void
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
  readonly #window: LaneWindow
  readonly #listener: LaneListener
  readonly #inFlight = new InFlight<Entry>()
  #isFull = false
  #isRetired = false
  #wasOvertaken = false
  #wasRefused = false
  /** When the broker gave a verdict last, or owed none. */
  #answeredAt = now()
  #excusedAt = 0
  /** When the message was sent that was confirmed last. */
  #confirmedSentAt = 0
  /** A round trip ends with the confirmation of what was sent after this. */
  #roundBegan = 0
  #wasWindowFull = false

  constructor(channel: Channel, window: LaneWindow, listener: LaneListener) {
    this.channel = channel
    this.#window = window
    this.#listener = listener
    const confirm = (entry: Entry): void => this.#confirm(entry)
    const refuse = (entry: Entry): void => {
      this.#wasRefused = true
      listener.onRefused(entry)
    }
    channel.raw.on('ack', (ack) => this.#settle(ack, confirm))
    channel.raw.on('nack', (nack) => this.#settle(nack, refuse))
    channel.raw.on('return', (message) => this.#return(message))
    channel.raw.on('drain', () => {
      this.#isFull = false
      listener.onRoom()
    })
    channel.ending.on((end) => {
      this.#wasOvertaken = this.#isOvertaken
      const entries = this.#inFlight.takeUpTo(Infinity)
      for (const entry of entries) entry.lost(end.isRefusal)
      listener.onEnded(entries, end)
    })
  }

  get inFlightCount(): number {
    return this.#inFlight.size
  }

  /**
   * How long the message that was sent first has been left without a verdict, in milliseconds: not answered at all, or
   * overtaken by later ones. One that only stands in a long line is not left.
   */
  get neglectedMs(): number {
    const { oldest } = this.#inFlight
    if (oldest === undefined) return 0
    const since = Math.max(oldest.sentAt, this.#excusedAt)
    return Math.max(now() - Math.max(this.#answeredAt, since), this.#confirmedSentAt - since)
  }

  /** True if the channel ended without a verdict on the oldest message, while later ones had theirs. */
  get wasOvertaken(): boolean {
    return this.#wasOvertaken
  }

  /** True if the broker refused a message here. */
  get wasRefused(): boolean {
    return this.#wasRefused
  }

  get hasRoom(): boolean {
    if (!this.channel.isOpen || this.#isFull || this.#isRetired) return false
    const hasRoom = this.#inFlight.size < this.#window.size
    if (!hasRoom) this.#wasWindowFull = true
    return hasRoom
  }

  /** The broker could not answer until now. */
  excuse(): void {
    this.#excusedAt = now()
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
    if (this.#inFlight.size === 0) this.#answeredAt = entry.sentAt
    this.#inFlight.add(entry)
    if (this.#inFlight.size > 1) this.channel.gather()
  }

  #settle({ deliveryTag, multiple }: DriverConfirm, verdict: (entry: Entry) => void): void {
    this.#answeredAt = now()
    if (multiple) {
      for (const entry of this.#inFlight.takeUpTo(deliveryTag)) verdict(entry)
    } else {
      const entry = this.#inFlight.take(deliveryTag)
      if (entry !== undefined) verdict(entry)
    }
    if (this.#isRetired) this.#closeIfDone()
    this.#listener.onRoom()
  }

  #confirm(entry: Entry): void {
    const { sentAt } = entry
    if (sentAt > this.#confirmedSentAt) this.#confirmedSentAt = sentAt
    if (sentAt > this.#roundBegan) {
      this.#window.onRoundTrip(this.#answeredAt - sentAt, this.#wasWindowFull)
      this.#roundBegan = this.#answeredAt
      this.#wasWindowFull = false
    }
    this.#listener.onConfirmed(entry)
  }

  get #isOvertaken(): boolean {
    const { oldest } = this.#inFlight
    return oldest !== undefined && this.#confirmedSentAt > oldest.sentAt
  }

  #closeIfDone(): void {
    if (this.#isRetired && this.#inFlight.size === 0) this.channel.dismiss()
  }

  /** A return precedes its confirmation on the same channel, so the oldest match is the right one. */
  #return({ fields, properties }: DriverReturn): void {
    const { messageId } = properties
    const { exchange, routingKey } = fields
    // Callers may give several messages the same id.
    const entry = this.#inFlight.find(
      ({ id, returned, letter }) =>
        id === messageId &&
        letter.routingKey === routingKey &&
        letter.exchange === exchange &&
        letter.properties.mandatory &&
        returned === undefined,
    )
    if (entry === undefined) return
    const { replyCode = 312, replyText = 'NO_ROUTE' } = fields
    entry.returned = new UnroutableError(entry.id, exchange, routingKey, replyCode, replyText)
    this.#listener.onReturned(entry)
  }
}
