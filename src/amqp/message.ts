import { createHash } from 'node:crypto'
import type { DriverMessage } from './driver.js'
import { ATTEMPT_HEADER } from './entry.js'

/** A message as a consumer's handler gets it. */
export class Message {
  /** The body. */
  readonly content: Buffer
  /** AMQP properties by amqplib's names: `messageId`, `contentType`, `correlationId`, `replyTo`, `type` … */
  readonly properties: Readonly<Record<string, unknown>>
  /** Application headers; a message of a stream has its offset in `x-stream-offset`. */
  readonly headers: Readonly<Record<string, unknown>>
  /** True when the broker may have delivered it before, to anybody. */
  readonly redelivered: boolean
  readonly exchange: string
  readonly routingKey: string
  #abort: AbortController | undefined
  #takenAway: Error | undefined

  /** @internal */
  constructor({ content, fields, properties }: DriverMessage) {
    this.content = content
    this.properties = properties
    this.headers = (properties['headers'] ?? {}) as Readonly<Record<string, unknown>>
    this.redelivered = fields.redelivered
    this.exchange = fields.exchange
    this.routingKey = fields.routingKey
  }

  /**
   * Aborted when the message has been taken away: its connection or channel ended, the broker cancelled the consumer or
   * waited too long for the acknowledgement, or the consumer was closed and its limit ran out. The broker delivers it
   * again, and what the handler still does is not acknowledged. With `acknowledge: 'before'` only the last case counts.
   */
  get signal(): AbortSignal {
    // Made when somebody asks for it: it costs more than everything else that is done for a message.
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#takenAway !== undefined) this.#abort.abort(this.#takenAway)
    }
    return this.#abort.signal
  }

  /** The body parsed as JSON; throws `SyntaxError` when it is none. */
  json(): unknown {
    return JSON.parse(this.content.toString('utf8'))
  }

  /** Aborts {@link Message.signal}. @internal */
  takeAway(reason: Error): void {
    this.#takenAway ??= reason
    this.#abort?.abort(reason)
  }
}

/** True for a delivery that may repeat an earlier one. @internal */
export function mayBeDuplicate({ redelivered, headers }: Message): boolean {
  if (redelivered) return true
  const attempt = headers[ATTEMPT_HEADER]
  return typeof attempt === 'number' && attempt > 1
}

/** The id that its publisher gave it, if any. @internal */
export function messageId({ properties }: Message): string | undefined {
  const id = properties['messageId']
  return typeof id === 'string' && id !== '' ? id : undefined
}

/** What stays the same over redeliveries: the message id, or what the message says when it has none. @internal */
export function identity(message: Message): string {
  const id = messageId(message)
  if (id !== undefined) return id
  return createHash('sha1')
    .update(message.exchange)
    .update('\0')
    .update(message.routingKey)
    .update(message.content)
    .digest('base64')
}
