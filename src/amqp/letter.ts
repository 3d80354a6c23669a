import { InvalidOptionError } from '../core/errors.js'
import { LONGEST_TIMER_MS, type WaitOptions } from '../core/time-limit.js'
import type { Letter } from './entry.js'
import { MessageTooLargeError } from './errors.js'
import { newMessageId } from './message-ids.js'
import { checkExchangeType } from './queue-kind.js'
import type { ExchangeType } from './topology.js'

/** How one message is published. */
export interface PublishOptions extends WaitOptions {
  /**
   * Rejects with `UnroutableError` when the message reaches no queue. Without it the broker confirms such a message and
   * drops it, also while a node that has just started does not know its queues yet.
   * @default true for the exchange `''`, which names the queue; false for others
   */
  readonly mandatory?: boolean
  /** Whether the message outlives a restart of its node; quorum queues keep every message. @default true */
  readonly persistent?: boolean
  /** Declares the exchange (durable) with this type before the first message to it. Without it the exchange has to exist. */
  readonly exchangeType?: ExchangeType
  /** Kept over repetitions, so that consumers can tell copies. @default a random one */
  readonly messageId?: string
  readonly headers?: Readonly<Record<string, unknown>>
  /** @default 'application/octet-stream', 'text/plain' or 'application/json', by the body */
  readonly contentType?: string
  readonly correlationId?: string
  readonly replyTo?: string
  readonly type?: string
  readonly appId?: string
  /** 0 to 255; of use in queues that have priorities. */
  readonly priority?: number
  /** How long the message may wait in queues, in milliseconds, rounded up. */
  readonly expirationMs?: number
  /** Rejects at once or waits for room, within the limit, when the outbox is full. @default the transport's `overflow` */
  readonly overflow?: 'reject' | 'wait'
  /** Seconds since 1970. */
  readonly timestamp?: number
}

const KNOWN: ReadonlySet<string> = new Set<keyof PublishOptions>([
  'timeoutMs',
  'signal',
  'mandatory',
  'persistent',
  'exchangeType',
  'messageId',
  'headers',
  'contentType',
  'correlationId',
  'replyTo',
  'type',
  'appId',
  'priority',
  'timestamp',
  'expirationMs',
  'overflow',
])
/** Further routing keys (RabbitMQ, sender-selected distribution); it closes the channel for other types. */
const ROUTING_HEADERS = ['CC', 'BCC'] as const
const MAX_SHORT_STRING = 255
/** What RabbitMQ takes: a 32-bit number. */
const MAX_EXPIRATION_MS = 4_294_967_295
const MAX_PRIORITY = 255

/** Makes a message of what the caller gave; throws `InvalidOptionError`, or `TypeError` for a body that is no JSON. @internal */
export function toLetter(exchange: unknown, routingKey: unknown, body: unknown, options: PublishOptions): Letter {
  checkNames(options)
  const { content, contentType } = encode(body)
  const { messageId, headers, expirationMs } = options
  return {
    exchange: shortString('exchange', exchange),
    routingKey: shortString('routingKey', routingKey),
    content,
    // Every property by name, also those that are not given: made for each message, one shape is cheaper than many.
    properties: {
      mandatory: options.mandatory ?? exchange === '',
      persistent: options.persistent !== false,
      messageId: messageId === undefined ? newMessageId() : shortString('messageId', messageId),
      // A copy: the message may be sent later, and again.
      headers: headers === undefined ? undefined : { ...headers },
      contentType: optionalString('contentType', options.contentType) ?? contentType,
      contentEncoding: Buffer.isBuffer(body) ? undefined : 'utf-8',
      correlationId: optionalString('correlationId', options.correlationId),
      replyTo: optionalString('replyTo', options.replyTo),
      type: optionalString('type', options.type),
      appId: optionalString('appId', options.appId),
      priority: wholeNumber('priority', options.priority, MAX_PRIORITY),
      timestamp: wholeNumber('timestamp', options.timestamp, Number.MAX_SAFE_INTEGER),
      // The broker closes the channel of everybody in flight for a fraction.
      expiration: expirationMs === undefined ? undefined : expiration(expirationMs),
    },
  }
}

function optionalString(option: string, value: unknown): string | undefined {
  return value === undefined ? undefined : shortString(option, value)
}

function wholeNumber(option: string, value: number | undefined, max: number): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && value >= 0 && value <= max)) return value
  throw new InvalidOptionError(option, `must be a whole number from 0 to ${max}`)
}

function expiration(ms: unknown): number {
  if (typeof ms === 'number' && ms >= 0 && ms <= MAX_EXPIRATION_MS) return Math.ceil(ms)
  throw new InvalidOptionError('expirationMs', `must be a number of milliseconds from 0 to ${MAX_EXPIRATION_MS}`)
}

function checkNames(options: PublishOptions): void {
  for (const name in options) {
    if (!KNOWN.has(name) && options[name as keyof PublishOptions] !== undefined) {
      throw new InvalidOptionError(name, 'is unknown')
    }
  }
  checkExchangeType('exchangeType', options.exchangeType)
  for (const name of ROUTING_HEADERS) {
    const value = options.headers?.[name]
    if (value !== undefined && !Array.isArray(value)) throw new InvalidOptionError(`headers.${name}`, 'must be a list')
  }
  const overflow: unknown = options.overflow
  if (overflow !== undefined && overflow !== 'reject' && overflow !== 'wait') {
    throw new InvalidOptionError('overflow', "must be 'reject' or 'wait'")
  }
}

/** Refuses a body that the broker would refuse, or that the outbox could never take. @internal */
export function checkSize(bytes: number, limits: { maxMessageBytes: number; maxOutboxBytes: number }): void {
  if (bytes > limits.maxMessageBytes) throw new MessageTooLargeError(bytes, limits.maxMessageBytes, 'maxMessageBytes')
  if (bytes > limits.maxOutboxBytes) throw new MessageTooLargeError(bytes, limits.maxOutboxBytes, 'maxOutboxBytes')
}

/** Refuses a limit that no timer can hold. @internal */
export function checkWait({ timeoutMs, signal }: WaitOptions): void {
  if (timeoutMs !== undefined && !(timeoutMs >= 0 && timeoutMs <= LONGEST_TIMER_MS)) {
    throw new InvalidOptionError('timeoutMs', `must be a number of milliseconds from 0 to ${LONGEST_TIMER_MS}`)
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new InvalidOptionError('signal', 'must be an AbortSignal')
  }
}

function encode(body: unknown): { readonly content: Buffer; readonly contentType: string } {
  if (Buffer.isBuffer(body)) return { content: body, contentType: 'application/octet-stream' }
  if (body instanceof Uint8Array) {
    return {
      content: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
      contentType: 'application/octet-stream',
    }
  }
  if (typeof body === 'string') return { content: Buffer.from(body), contentType: 'text/plain' }
  const text = JSON.stringify(body) as string | undefined
  if (text === undefined) throw new TypeError('the body is neither a Buffer, a string nor a JSON value')
  return { content: Buffer.from(text), contentType: 'application/json' }
}

function shortString(option: string, value: unknown): string {
  // No character has more than three bytes for each of its UTF-16 units.
  if (
    typeof value === 'string' &&
    (3 * value.length <= MAX_SHORT_STRING || Buffer.byteLength(value) <= MAX_SHORT_STRING)
  )
    return value
  throw new InvalidOptionError(option, `must be a string of at most ${MAX_SHORT_STRING} bytes`)
}
