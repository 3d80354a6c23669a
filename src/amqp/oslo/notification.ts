import { unpackContext } from './context.js'
import type { Decoded } from './envelope.js'
import { PRIORITIES, type NotificationPriority } from './priorities.js'

/** What came along with a notification. */
export interface NotificationMetadata {
  /** Identifies the notification, over topics and formats. */
  readonly message_id: unknown
  /** When it was sent: UTC, without a zone. */
  readonly timestamp: unknown
}

/** A notification as a batch delivers it. */
export interface Notification {
  readonly context: Record<string, unknown>
  readonly publisherId: string
  readonly eventType: string
  readonly payload: unknown
  readonly metadata: NotificationMetadata
}

/** A notification with what the listener needs to know of it. @internal */
export interface Received {
  readonly notification: Notification
  /** `undefined` for one that oslo.messaging does not know. */
  readonly priority: NotificationPriority | undefined
  readonly id: string | undefined
  /** The first field with an integer beyond 2^53. */
  readonly unsafeInteger: string | undefined
}

/** Reads the fields of a notification. @internal */
export function readNotification({ payload, unsafeInteger }: Decoded): Received {
  const priority = text(payload['priority']).toLowerCase()
  const id = payload['_unique_id']
  return {
    notification: {
      context: unpackContext(payload),
      publisherId: text(payload['publisher_id']),
      eventType: text(payload['event_type']),
      payload: payload['payload'] ?? null,
      metadata: { message_id: payload['message_id'] ?? null, timestamp: payload['timestamp'] ?? null },
    },
    priority: PRIORITIES.find((one) => one === priority),
    id: typeof id === 'string' ? id : undefined,
    unsafeInteger,
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
