import { InvalidOptionError } from '../../core/errors.js'
import type { Notification, NotificationMetadata, Received } from './notification.js'
import { compileFilter, type NotificationFilter, type NotificationTest } from './notification-filter.js'
import { PRIORITIES, type NotificationPriority } from './priorities.js'

/** What an endpoint may return; nothing at all means that it handled the notification. */
export const NotificationResult: Readonly<{ readonly HANDLED: 'handled'; readonly REQUEUE: 'requeue' }> = Object.freeze(
  {
    HANDLED: 'handled',
    REQUEUE: 'requeue',
  },
)

/** Handles notifications of one priority. */
export type NotificationHandler = (
  context: Record<string, unknown>,
  publisherId: string,
  eventType: string,
  // What a publisher sends is its own business: a handler says what it expects.
  payload: never,
  metadata: NotificationMetadata,
) => unknown

/**
 * Handles notifications: the names of its methods say of which priorities, and `filter` which of those.
 *
 * With `batchSize` a method is called with a list of notifications instead.
 */
export type NotificationEndpoint = object

/** Thrown for a notification that goes back to its queue because an endpoint said so. @internal */
export class RequeueRequest extends Error {
  constructor() {
    super('an endpoint asked for it again')
    this.name = 'RequeueRequest'
  }
}

interface Callback {
  readonly wants: NotificationTest
  readonly call: (...args: readonly unknown[]) => unknown
}

/** Calls the endpoints that want a notification. @internal */
export class NotificationDispatcher {
  readonly #callbacks: ReadonlyMap<NotificationPriority, readonly Callback[]>

  constructor(endpoints: NotificationEndpoint | readonly NotificationEndpoint[]) {
    const list = (Array.isArray(endpoints) ? endpoints : [endpoints]) as readonly unknown[]
    this.#callbacks = collect(list)
    if (this.#callbacks.size === 0) {
      throw new InvalidOptionError('endpoints', `must have methods named ${PRIORITIES.join(', ')}`)
    }
  }

  /** Priorities for which there is a method. */
  get priorities(): readonly NotificationPriority[] {
    return [...this.#callbacks.keys()]
  }

  /** Runs every endpoint that wants it, in their order. Rejects when one fails, or wants it again. */
  async dispatch({ notification, priority }: Received): Promise<void> {
    const { context, publisherId, eventType, payload, metadata } = notification
    for (const { wants, call } of this.#of(priority)) {
      if (wants(notification)) demand(await call(context, publisherId, eventType, payload, metadata))
    }
  }

  /** The same for a batch of one priority each. */
  async dispatchBatch(batch: readonly Received[]): Promise<void> {
    for (const priority of PRIORITIES) {
      const notifications = batch.filter((one) => one.priority === priority).map((one) => one.notification)
      if (notifications.length === 0) continue
      for (const { wants, call } of this.#of(priority)) {
        const wanted: readonly Notification[] = notifications.filter(wants)
        if (wanted.length > 0) demand(await call(wanted))
      }
    }
  }

  #of(priority: NotificationPriority | undefined): readonly Callback[] {
    return priority === undefined ? [] : (this.#callbacks.get(priority) ?? [])
  }
}

function demand(result: unknown): void {
  if (result === NotificationResult.REQUEUE) throw new RequeueRequest()
}

function collect(endpoints: readonly unknown[]): ReadonlyMap<NotificationPriority, readonly Callback[]> {
  const found = new Map<NotificationPriority, Callback[]>()
  for (const endpoint of endpoints) {
    if (typeof endpoint !== 'object' || endpoint === null) {
      throw new InvalidOptionError('endpoints', 'must be objects with methods')
    }
    const owner = endpoint as Record<string, unknown> & { filter?: NotificationFilter }
    const wants = compileFilter(owner.filter)
    for (const priority of PRIORITIES) {
      const method = owner[priority]
      if (typeof method !== 'function') continue
      const call = method.bind(owner) as Callback['call']
      found.set(priority, [...(found.get(priority) ?? []), { wants, call }])
    }
  }
  return found
}
