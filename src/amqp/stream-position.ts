import { LinkedList, type Place } from '../core/linked-list.js'
import type { Message } from './message.js'

/**
 * Where a consumer of a stream begins: at the first message that is kept, at the last chunk, behind all that are there
 * (`next`), at an offset, or at a time (whole seconds; a few older messages may come).
 */
export type StreamOffset = 'first' | 'last' | 'next' | number | Date

/** Header that tells a message's offset, and argument of a consumer that says where to begin. @internal */
export const OFFSET_HEADER = 'x-stream-offset'

/**
 * Where to go on in a stream: at the oldest message that was not finished, so that nothing is skipped.
 *
 * The broker keeps no position for AMQP 0-9-1 consumers.
 * @internal
 */
export class StreamPosition {
  #resume: StreamOffset
  #unfinished = new LinkedList<number>()
  #last: number | undefined
  #highest = -1
  #subscribedAt: Date | undefined

  constructor(start: StreamOffset) {
    this.#resume = start
  }

  /** Where to go on. */
  get next(): StreamOffset {
    return this.#unfinished.first ?? (this.#last === undefined ? this.#resume : this.#last + 1)
  }

  /** Begins a new subscription and says where. */
  restart(): StreamOffset {
    const { next } = this
    // What came while we were away must not be skipped, and there is no offset yet to name.
    const isRelative = next === 'next' || next === 'last'
    this.#resume = isRelative ? (this.#subscribedAt ?? next) : next
    this.#unfinished = new LinkedList()
    this.#last = undefined
    return this.#resume
  }

  subscribed(): void {
    this.#subscribedAt ??= new Date()
  }

  /** The stream was made anew: everything in it is new. */
  reset(): void {
    this.#resume = 'first'
    this.#unfinished = new LinkedList()
    this.#last = undefined
    this.#highest = -1
  }

  /** True for a message that came before. */
  isRepeated(offset: number): boolean {
    return offset <= this.#highest
  }

  arrived(offset: number): Place<number> {
    this.#last = offset
    if (offset > this.#highest) this.#highest = offset
    return this.#unfinished.push(offset)
  }

  finished(mark: Place<number>): void {
    this.#unfinished.remove(mark)
  }
}

/** The offset of a message, if it came from a stream. @internal */
export function offsetOf({ headers }: Message): number | undefined {
  const offset = headers[OFFSET_HEADER]
  return typeof offset === 'number' ? offset : undefined
}

/** As the consumer's argument wants it. @internal */
export function offsetArgument(offset: StreamOffset): unknown {
  // Rounded down: a second too early repeats, a second too late skips.
  return offset instanceof Date ? { '!': 'timestamp', value: Math.floor(offset.getTime() / 1000) } : offset
}
