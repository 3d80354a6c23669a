import { unpackContext } from './context.js'
import type { Decoded } from './envelope.js'
import type { Wanted } from './dispatcher.js'

/** A request as a server understands it. @internal */
export interface Request extends Wanted {
  readonly context: Record<string, unknown>
  readonly args: Readonly<Record<string, unknown>>
  /** Its `_unique_id`; without one it cannot be told from its copies. */
  readonly id: string | undefined
  /** Where the reply goes; `undefined` for a cast. */
  readonly replyTo: { readonly queue: string; readonly id: string } | undefined
  /** The caller expects signs of life within so many seconds. */
  readonly monitorSeconds: number | undefined
  /** The first field with an integer beyond 2^53. */
  readonly unsafeInteger: string | undefined
}

const DEFAULT_VERSION = '1.0'
const MAX_QUEUE_NAME_BYTES = 255

/** Reads the fields of a request. What is missing or of a wrong type is as if it were not there. @internal */
export function readRequest({ payload, unsafeInteger }: Decoded): Request {
  const { _timeout: timeout, _reply_q: queue, _msg_id: id, args } = payload
  const context = unpackContext(payload)
  context['client_timeout'] = timeout ?? null
  return {
    method: text(payload['method']) ?? '',
    namespace: text(payload['namespace']),
    version: text(payload['version']) ?? DEFAULT_VERSION,
    context,
    args: typeof args === 'object' && args !== null ? (args as Record<string, unknown>) : {},
    id: text(payload['_unique_id']),
    replyTo: typeof id === 'string' && isQueueName(queue) ? { queue, id } : undefined,
    monitorSeconds: typeof timeout === 'number' && timeout > 0 ? timeout : undefined,
    unsafeInteger,
  }
}

function isQueueName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= MAX_QUEUE_NAME_BYTES
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
