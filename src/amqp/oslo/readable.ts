import { diagnose } from '../../core/diagnostics.js'
import { toError } from '../../core/errors.js'
import type { Message } from '../message.js'

/** Reads each message before it is handled, so that one that cannot be read is rejected and not acknowledged. @internal */
export class Readable<T extends object> {
  readonly #read: (message: Message) => T
  readonly #topic: string
  readonly #understood = new WeakMap<Message, T>()
  #malformed = 0

  /** `read` throws for a message that cannot be read. */
  constructor(topic: string, read: (message: Message) => T) {
    this.#topic = topic
    this.#read = read
  }

  /** How many could not be read. */
  get malformedCount(): number {
    return this.#malformed
  }

  /** True for a message that cannot be read; it is counted and reported. */
  readonly refuses = (message: Message): boolean => {
    try {
      this.#understood.set(message, this.#read(message))
      return false
    } catch (error) {
      this.#malformed += 1
      diagnose('amqp', 'malformedMessage', { topic: this.#topic, error: toError(error) })
      return true
    }
  }

  /** What a message says that was not refused. */
  of(message: Message): T {
    const understood = this.#understood.get(message)
    if (understood === undefined) throw new Error('bug: a message is handled that was not read')
    return understood
  }
}
