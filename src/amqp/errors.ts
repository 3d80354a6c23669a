import { HAError } from '../core/errors.js'

/**
 * A mandatory message reached no queue: the broker sent it back and stored nothing.
 */
export class UnroutableError extends HAError {
  readonly code = 'HA_UNROUTABLE'
  readonly messageId: string
  readonly exchange: string
  readonly routingKey: string
  /** AMQP reply code, 312 for "no route". */
  readonly replyCode: number

  constructor(messageId: string, exchange: string, routingKey: string, replyCode: number, replyText: string) {
    super(`message ${messageId} to exchange '${exchange}' with routing key '${routingKey}' was returned: ${replyText}`)
    this.messageId = messageId
    this.exchange = exchange
    this.routingKey = routingKey
    this.replyCode = replyCode
  }
}

/**
 * The message was sent, and its confirmation did not come before the limit, the signal or the end of the client: the
 * broker may have it or not. Publishing it again under the same `messageId` lets consumers tell the copies.
 */
export class PublishOutcomeUnknownError extends HAError {
  readonly code = 'HA_OUTCOME_UNKNOWN'
  readonly messageId: string

  constructor(messageId: string, reason: string, cause?: unknown) {
    super(`outcome of message ${messageId} is unknown: ${reason}`, cause === undefined ? undefined : { cause })
    this.messageId = messageId
  }
}

/** The broker answered every attempt with `basic.nack` until the limit; it holds no copy. */
export class PublishRefusedError extends HAError {
  readonly code = 'HA_PUBLISH_REFUSED'
  readonly messageId: string

  constructor(messageId: string, attempts: number) {
    super(`message ${messageId} was refused by the broker (basic.nack), ${attempts} time${attempts === 1 ? '' : 's'}`)
    this.messageId = messageId
  }
}

/**
 * The outbox is full: the message was not taken, or, with `overflow: 'wait'`, there was no room within its limit. Publish
 * less, wait, or raise `maxOutboxMessages` or `maxOutboxBytes`. Why nothing is sent at present is the `cause`.
 */
export class BackpressureError extends HAError {
  readonly code = 'HA_BACKPRESSURE'
  override readonly safeToRetry = true

  constructor(messages: number, bytes: number, reason?: Error) {
    super(`outbox is full (${messages} messages, ${bytes} bytes)`, reason === undefined ? undefined : { cause: reason })
  }
}

/** The message is larger than `maxMessageBytes`, or than the outbox: it was not sent, the broker would refuse it. */
export class MessageTooLargeError extends HAError {
  readonly code = 'HA_MESSAGE_TOO_LARGE'
  override readonly safeToRetry = true
  /** Size of the body. */
  readonly bytes: number
  readonly maxBytes: number

  constructor(bytes: number, maxBytes: number, option: string) {
    super(`the message has ${bytes} bytes, '${option}' allows ${maxBytes}`)
    this.bytes = bytes
    this.maxBytes = maxBytes
  }
}

/**
 * The broker refused the login (reply code 403), or the virtual host (530: it is missing, or not allowed for this user).
 */
export class AccessRefusedError extends HAError {
  readonly code = 'HA_ACCESS_REFUSED'
  override readonly safeToRetry = true
  /** `host:port`. */
  readonly host: string
  readonly vhost: string
  /** AMQP reply code, 403 or 530. */
  readonly replyCode: number

  constructor(host: string, vhost: string, username: string, replyCode: number, cause: unknown) {
    const what =
      replyCode === 530
        ? `virtual host '${vhost}', which is missing, down, or not allowed for user '${username}'`
        : `the login of user '${username}' for virtual host '${vhost}'`
    super(`${host} refused ${what}`, { cause })
    this.host = host
    this.vhost = vhost
    this.replyCode = replyCode
  }
}

/**
 * The broker does not allow queues of this kind any more (RabbitMQ 4.3: transient queues that are not exclusive). It
 * closes the whole connection for each attempt, so the queue is not tried again.
 */
export class QueueKindError extends HAError {
  readonly code = 'HA_QUEUE_KIND'
  override readonly safeToRetry = true
  readonly queue: string

  constructor(queue: string, cause: unknown) {
    super(
      `the broker allows no queue like '${queue}': make it durable (with x-expires, if it has to go), or exclusive`,
      {
        cause,
      },
    )
    this.queue = queue
  }
}
