import { randomUUID } from 'node:crypto'
import { InvalidOptionError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import type { Letter } from './entry.js'
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
  /** Kept over repetitions, so that consumers can tell copies. @default a random UUID */
  readonly messageId?: string
  readonly headers?: Readonly<Record<string, unknown>>
  /** @default 'application/octet-stream', 'text/plain' or 'application/json', by the body */
  readonly contentType?: string
  readonly correlationId?: string
  readonly replyTo?: string
  readonly type?: string
  readonly appId?: string
  readonly priority?: number
  /** How long the message may wait in queues, in milliseconds. */
  readonly expirationMs?: number
  /** Seconds since 1970. */
  readonly timestamp?: number
}

const PROPERTIES = ['correlationId', 'replyTo', 'type', 'appId', 'priority', 'timestamp'] as const
const KNOWN: ReadonlySet<string> = new Set<keyof PublishOptions>([
  ...([
    'timeoutMs',
    'signal',
    'mandatory',
    'persistent',
    'exchangeType',
    'messageId',
    'headers',
    'contentType',
  ] as const),
  ...PROPERTIES,
  'expirationMs',
])
const MAX_SHORT_STRING = 255
const MAX_DURATION_MS = 2_147_483_647

/** Makes a message of what the caller gave; throws `InvalidOptionError`, or `TypeError` for a body that is no JSON. @internal */
export function toLetter(exchange: unknown, routingKey: unknown, body: unknown, options: PublishOptions): Letter {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !KNOWN.has(name)) throw new InvalidOptionError(name, 'is unknown')
  }
  checkExchangeType('exchangeType', options.exchangeType)
  const { content, contentType } = encode(body)
  return {
    exchange: shortString('exchange', exchange),
    routingKey: shortString('routingKey', routingKey),
    content,
    properties: {
      mandatory: options.mandatory ?? exchange === '',
      persistent: options.persistent !== false,
      messageId: options.messageId === undefined ? randomUUID() : shortString('messageId', options.messageId),
      headers: { ...options.headers },
      contentType: options.contentType ?? contentType,
      ...(Buffer.isBuffer(body) ? {} : { contentEncoding: 'utf-8' }),
      ...Object.fromEntries(PROPERTIES.map((name) => [name, options[name]])),
      expiration: options.expirationMs,
    },
  }
}

/** Refuses a limit that no timer can hold. @internal */
export function checkWait({ timeoutMs, signal }: WaitOptions): void {
  if (timeoutMs !== undefined && !(timeoutMs >= 0 && timeoutMs <= MAX_DURATION_MS)) {
    throw new InvalidOptionError('timeoutMs', `must be a number of milliseconds from 0 to ${MAX_DURATION_MS}`)
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
  if (typeof value === 'string' && Buffer.byteLength(value) <= MAX_SHORT_STRING) return value
  throw new InvalidOptionError(option, `must be a string of at most ${MAX_SHORT_STRING} bytes`)
}
