import { InvalidOptionError } from '../../core/errors.js'
import type { WaitOptions } from '../../core/time-limit.js'
import type { Consumer } from '../consumer.js'
import type { Message } from '../message.js'
import { Batcher } from './batcher.js'
import type { Declarer } from './declarer.js'
import { decode } from './envelope.js'
import { UnsafeIntegerError } from './errors.js'
import { readNotification, type Received } from './notification.js'
import { NotificationDispatcher, type NotificationEndpoint } from './notification-dispatcher.js'
import type { TransportPort } from './port.js'
import { pooledQueue, sharedQueue, topicExchange, type BindingSpec, type QueueSpec } from './queues.js'
import { Readable } from './readable.js'
import { SeenIds } from './seen-ids.js'
import { subscriptionTo } from './subscribe.js'
import { checkName, checkTarget } from './target.js'

/** A topic to listen to. */
export interface NotificationTarget {
  /** Such as `notifications`. */
  readonly topic: string
  /** @default the transport's `controlExchange` */
  readonly exchange?: string | undefined
}

/** Settings of a notification listener. */
export interface NotificationListenerOptions extends WaitOptions {
  /** Listeners of one pool share the notifications; each pool, and those without one, gets them all. */
  readonly pool?: string
  /** Most notifications in work at a time. @default 16 */
  readonly concurrency?: number
  /** How often a notification goes back because an endpoint failed or asked for it, before it is rejected. @default 5 */
  readonly maxRequeues?: number
  /** Pause before it goes back, in milliseconds; doubled each time. @default 500 */
  readonly requeueDelayMs?: number
  /** Endpoints get lists of at most so many notifications. @default one at a time */
  readonly batchSize?: number
  /** A batch waits no longer to be full. @default 1000 */
  readonly batchTimeoutMs?: number
}

/** Figures of a listener. */
export interface NotificationListenerStatus {
  /** Notifications that every endpoint handled. */
  readonly handled: number
  /** Attempts that failed, or that an endpoint answered with `REQUEUE`. */
  readonly failed: number
  /** Copies that were dropped. */
  readonly duplicates: number
  /** Messages that were no notifications; rejected, so that a dead-letter exchange of their queue gets them. */
  readonly malformed: number
}

/** A running listener, as `transport.notificationListener` returns it. */
export interface NotificationListener {
  /** A frozen snapshot. */
  status(): NotificationListenerStatus
  /** Takes no more notifications and waits for endpoints that run, for `timeoutMs` (10 s) at most. Never rejects. */
  close(options?: { readonly timeoutMs?: number }): Promise<void>
  /** {@link NotificationListener.close} with its defaults, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

const KNOWN = [
  ...['pool', 'concurrency', 'maxRequeues', 'requeueDelayMs', 'batchSize', 'batchTimeoutMs', 'timeoutMs', 'signal'],
]
const DEFAULT_BATCH_TIMEOUT_MS = 1000
const DEFAULT_CONCURRENCY = 16
const DEFAULT_MAX_REQUEUES = 5

/** Listens to the queues of its endpoints' priorities. @internal */
export class ManagedListener implements NotificationListener {
  readonly #port: TransportPort
  readonly #targets: readonly NotificationTarget[]
  readonly #dispatcher: NotificationDispatcher
  readonly #options: NotificationListenerOptions
  readonly #batcher: Batcher<Received> | undefined
  readonly #notifications: Readable<Received>
  readonly #seen = new SeenIds()
  #consumers: readonly Consumer[] = []
  #onClosed: () => void = () => undefined
  #closing: Promise<void> | undefined
  #handled = 0
  #failed = 0
  #duplicates = 0

  constructor(
    port: TransportPort,
    targets: readonly NotificationTarget[],
    endpoints: NotificationEndpoint | readonly NotificationEndpoint[],
    options: NotificationListenerOptions,
  ) {
    checkTargets(targets)
    checkOptions(options)
    this.#port = port
    this.#targets = targets
    this.#options = options
    this.#dispatcher = new NotificationDispatcher(endpoints)
    this.#notifications = new Readable(targets.map(({ topic }) => topic).join(), (message) => this.#read(message))
    const { batchSize, batchTimeoutMs = DEFAULT_BATCH_TIMEOUT_MS } = options
    if (batchSize !== undefined) {
      this.#batcher = new Batcher(batchSize, batchTimeoutMs, (batch) => this.#dispatcher.dispatchBatch(batch))
    }
  }

  /** Resolves when every queue is consumed. */
  async start(declarer: Declarer, wait: WaitOptions, onClosed: () => void): Promise<void> {
    this.#onClosed = onClosed
    const started = await Promise.allSettled(this.#queues().map((queue) => this.#consume(queue, declarer, wait)))
    this.#consumers = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    for (const result of started) {
      if (result.status !== 'rejected') continue
      await this.close({ timeoutMs: 0 })
      throw result.reason
    }
  }

  status(): NotificationListenerStatus {
    return Object.freeze({
      handled: this.#handled,
      failed: this.#failed,
      duplicates: this.#duplicates,
      malformed: this.#notifications.malformedCount,
    })
  }

  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Ends the wait for full batches, so that nothing keeps the transport from its end. */
  destroy(): void {
    this.#batcher?.close()
  }

  async #close(options: { readonly timeoutMs?: number }): Promise<void> {
    this.#batcher?.close()
    await Promise.all(this.#consumers.map((consumer) => consumer.close(options)))
    this.#onClosed()
  }

  #queues(): readonly QueueSpec[] {
    const { options } = this.#port
    const { pool } = this.#options
    const bindings = this.#targets.flatMap(({ topic, exchange }) =>
      this.#dispatcher.priorities.map((priority): BindingSpec => ({
        exchange: topicExchange(options, exchange),
        routingKey: `${topic}.${priority}`,
      })),
    )
    if (pool !== undefined) return [pooledQueue(options, pool, bindings)]
    return bindings.map(({ exchange, routingKey }) => sharedQueue(options, exchange, routingKey))
  }

  async #consume(queue: QueueSpec, declarer: Declarer, wait: WaitOptions): Promise<Consumer> {
    const { batchSize = 1, maxRequeues = DEFAULT_MAX_REQUEUES, requeueDelayMs } = this.#options
    const concurrency = Math.max(this.#options.concurrency ?? DEFAULT_CONCURRENCY, batchSize)
    const subscription = subscriptionTo(queue, declarer, {
      prefetch: Math.max(this.#port.prefetch, concurrency),
      concurrency,
      maxRequeues,
      refuses: this.#notifications.refuses,
      ...(requeueDelayMs === undefined ? {} : { requeueDelayMs }),
    })
    return this.#port.consume(subscription, (message) => this.#accept(message), wait)
  }

  #read(message: Message): Received {
    const received = readNotification(decode(message))
    const { unsafeInteger } = received
    if (unsafeInteger !== undefined && !this.#port.options.bigIntegers) throw new UnsafeIntegerError(unsafeInteger)
    return received
  }

  /** Rejects when the notification shall come again. */
  async #accept(message: Message): Promise<void> {
    const received = this.#notifications.of(message)
    const { id } = received
    if (id === undefined) await this.#handle(received)
    else if (!(await this.#seen.once(id, () => this.#handle(received)))) this.#duplicates += 1
  }

  async #handle(received: Received): Promise<void> {
    try {
      await (this.#batcher === undefined ? this.#dispatcher.dispatch(received) : this.#batcher.add(received))
      this.#handled += 1
    } catch (error) {
      this.#failed += 1
      throw error
    }
  }
}

function checkTargets(targets: unknown): void {
  if (!Array.isArray(targets) || targets.length === 0)
    throw new InvalidOptionError('targets', 'must be a list of targets')
  for (const target of targets as readonly NotificationTarget[]) {
    checkTarget(target)
    checkName('topic', target.topic)
  }
}

function checkOptions(options: NotificationListenerOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !KNOWN.includes(name)) throw new InvalidOptionError(name, 'is unknown')
  }
  const { pool, batchSize, batchTimeoutMs, concurrency } = options
  if (pool !== undefined) checkName('pool', pool)
  for (const [name, value] of Object.entries({ batchSize, concurrency })) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1 && value <= 65_535)) {
      throw new InvalidOptionError(name, 'must be a whole number from 1 to 65535')
    }
  }
  if (batchTimeoutMs !== undefined && !(batchTimeoutMs >= 0 && batchTimeoutMs <= 3_600_000)) {
    throw new InvalidOptionError('batchTimeoutMs', 'must be a number of milliseconds from 0 to 3600000')
  }
}
