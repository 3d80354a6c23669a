import { createHash } from 'node:crypto'
import type { DriverMessage } from './driver.js'
import { ATTEMPT_HEADER } from './entry.js'

/** A message as a consumer's handler gets it. */
export class Message {
  /** The body. */
  readonly content: Buffer
  /** AMQP properties by amqplib's names: `messageId`, `contentType`, `correlationId`, `replyTo`, `type` … */
  readonly properties: Readonly<Record<string, unknown>>
  /** Application headers. */
  readonly headers: Readonly<Record<string, unknown>>
  /** True when the broker may have delivered it before, to anybody. */
  readonly redelivered: boolean
  readonly exchange: string
  readonly routingKey: string
  /**
   * Aborted when the message has been taken away: its connection or channel ended, and the broker delivers it again. What
   * the handler still does then is not acknowledged.
   */
  readonly signal: AbortSignal

  /** @internal */
  constructor(delivered: DriverMessage, signal: AbortSignal) {
    const { fields, properties } = delivered
    this.content = delivered.content
    this.properties = properties
    this.headers = (properties['headers'] ?? {}) as Readonly<Record<string, unknown>>
    this.redelivered = fields.redelivered
    this.exchange = fields.exchange
    this.routingKey = fields.routingKey
    this.signal = signal
  }

  /** The body parsed as JSON; throws `SyntaxError` when it is none. */
  json(): unknown {
    return JSON.parse(this.content.toString('utf8'))
  }
}

/** True for a delivery that may repeat an earlier one. @internal */
export function mayBeDuplicate(message: Message): boolean {
  return message.redelivered || message.headers[ATTEMPT_HEADER] !== undefined
}

/** What stays the same over redeliveries: the message id, or what the message says when it has none. @internal */
export function identity(message: Message): string {
  const id = message.properties['messageId']
  if (typeof id === 'string' && id !== '') return id
  return createHash('sha1')
    .update(message.exchange)
    .update('\0')
    .update(message.routingKey)
    .update(message.content)
    .digest('base64')
}
