import { randomUUID } from 'node:crypto'
import { backoffDelay } from '../../core/backoff.js'
import { InvalidOptionError, isHAError } from '../../core/errors.js'
import type { WaitOptions } from '../../core/time-limit.js'
import { now, sleep } from '../../core/timing.js'
import { UnroutableError } from '../errors.js'
import { checkWait } from '../letter.js'
import { packContext, redactContext, type RequestContext } from './context.js'
import { checkTopics, type NotificationDriver } from './options.js'
import type { TransportPort } from './port.js'
import type { NotificationPriority } from './priorities.js'
import { newId, sharedQueue, topicExchange } from './queues.js'
import type { Outgoing, Sender } from './sender.js'

/** Settings of a notifier. What is not given is the transport's. */
export interface NotifierOptions {
  /** Who notifies, such as `compute.host1`. */
  readonly publisherId: string
  /** Formats to send. @default the transport's `notificationDrivers` */
  readonly drivers?: readonly NotificationDriver[]
  /** @default the transport's `notificationTopics` */
  readonly topics?: readonly string[]
  /** How often a notification that failed is tried again; -1 until its limit. @default the transport's `notificationRetry` */
  readonly retry?: number
  /** @default the transport's `controlExchange` */
  readonly exchange?: string
}

const KNOWN = ['publisherId', 'drivers', 'topics', 'retry', 'exchange']
const DRIVERS: readonly unknown[] = ['messaging', 'messagingv2', 'noop']
const RETRY = Object.freeze({ initialMs: 100, factor: 2, maxMs: 2000 })

/**
 * Sends notifications, as oslo.messaging's `Notifier`. Made by `transport.notifier`.
 *
 * Each method resolves when the broker has the notification on every topic. Of the context only what is no secret is
 * sent. Rejects as `publish` does.
 */
export class Notifier {
  readonly #port: TransportPort
  readonly #sender: Sender
  readonly #options: NotifierOptions
  readonly #drivers: readonly NotificationDriver[]
  readonly #topics: readonly string[]
  readonly #retry: number

  /** @internal */
  constructor(port: TransportPort, sender: Sender, options: NotifierOptions) {
    checkOptions(options)
    this.#port = port
    this.#sender = sender
    this.#options = options
    this.#drivers = options.drivers ?? port.options.notificationDrivers
    this.#topics = options.topics ?? port.options.notificationTopics
    this.#retry = options.retry ?? port.options.notificationRetry
  }

  /** A notifier with another publisher or other settings; this one stays as it is. */
  prepare(changes: Partial<NotifierOptions>): Notifier {
    return new Notifier(this.#port, this.#sender, { ...this.#options, ...changes })
  }

  /** Emits a notification of the priority `audit`; see {@link Notifier.info}. */
  async audit(context: RequestContext | null, eventType: string, payload: unknown, wait?: WaitOptions): Promise<void> {
    await this.#notify('audit', context, eventType, payload, wait)
  }

  /** Emits a notification of the priority `debug`; see {@link Notifier.info}. */
  async debug(context: RequestContext | null, eventType: string, payload: unknown, wait?: WaitOptions): Promise<void> {
    await this.#notify('debug', context, eventType, payload, wait)
  }

  /**
   * Emits a notification of the priority `info`: to the queue `<topic>.info` of each topic, where it waits for listeners.
   *
   * Resolves when the broker confirmed it. Rejects as `publish` does, after `retry` attempts or at `timeoutMs`.
   */
  async info(context: RequestContext | null, eventType: string, payload: unknown, wait?: WaitOptions): Promise<void> {
    await this.#notify('info', context, eventType, payload, wait)
  }

  /** Emits a notification of the priority `warn`; see {@link Notifier.info}. */
  async warn(context: RequestContext | null, eventType: string, payload: unknown, wait?: WaitOptions): Promise<void> {
    await this.#notify('warn', context, eventType, payload, wait)
  }

  /** Emits a notification of the priority `error`; see {@link Notifier.info}. */
  async error(context: RequestContext | null, eventType: string, payload: unknown, wait?: WaitOptions): Promise<void> {
    await this.#notify('error', context, eventType, payload, wait)
  }

  /** Emits a notification of the priority `critical`; see {@link Notifier.info}. */
  async critical(
    context: RequestContext | null,
    eventType: string,
    payload: unknown,
    wait?: WaitOptions,
  ): Promise<void> {
    await this.#notify('critical', context, eventType, payload, wait)
  }

  /** Emits a notification of the priority `sample`; see {@link Notifier.info}. */
  async sample(context: RequestContext | null, eventType: string, payload: unknown, wait?: WaitOptions): Promise<void> {
    await this.#notify('sample', context, eventType, payload, wait)
  }

  async #notify(
    priority: NotificationPriority,
    context: RequestContext | null,
    eventType: unknown,
    payload: unknown,
    wait: WaitOptions = {},
  ): Promise<void> {
    this.#port.assertOpen()
    checkWait(wait)
    if (typeof eventType !== 'string' || eventType === '') throw new InvalidOptionError('eventType', 'must be a name')
    const { timeoutMs = this.#port.publishTimeoutMs, signal } = wait
    const message = {
      message_id: randomUUID(),
      publisher_id: this.#options.publisherId,
      event_type: eventType,
      priority: priority.toUpperCase(),
      payload: payload ?? null,
      timestamp: timestamp(new Date()),
    }
    const packed = packContext(redactContext(context))
    const { options } = this.#port
    const exchange = topicExchange(options, this.#options.exchange)
    const outs = this.#drivers
      .filter((driver) => driver !== 'noop')
      .flatMap((driver) =>
        this.#topics.map((topic): Outgoing => {
          const id = newId()
          const queue = sharedQueue(options, exchange, `${topic}.${priority}`)
          return {
            to: { queue },
            routingKey: queue.name,
            payload: { ...message, _unique_id: id, ...packed },
            id,
            mandatory: true,
            isBare: driver === 'messaging',
            isRepeatable: true,
          }
        }),
      )
    await Promise.all(outs.map((out) => this.#send(out, { timeoutMs, signal })))
  }

  async #send(out: Outgoing, wait: WaitOptions & { readonly timeoutMs: number }): Promise<void> {
    const startedAt = now()
    for (let attempt = 1; ; attempt += 1) {
      const timeoutMs = Math.max(1, wait.timeoutMs - (now() - startedAt))
      try {
        await this.#sender.send(out, { timeoutMs, signal: wait.signal })
        return
      } catch (error) {
        const pauseMs = backoffDelay(attempt, RETRY)
        const isLast = (this.#retry >= 0 && attempt > this.#retry) || now() - startedAt + pauseMs >= wait.timeoutMs
        if (isLast || !mayPass(error)) throw error
        await sleep(pauseMs, wait.signal)
      }
    }
  }
}

/** True for a failure that another attempt may not meet, and of which the broker kept nothing. */
function mayPass(error: unknown): boolean {
  if (error instanceof UnroutableError) return true
  return isHAError(error) && error.safeToRetry && error.code !== 'HA_CLOSED' && error.code !== 'HA_INVALID_OPTION'
}

/** `2026-11-21 19:28:37.930000`: UTC, without a fraction when there is none, as Python writes it. */
function timestamp(at: Date): string {
  const [date = '', time = ''] = at.toISOString().split(/[TZ]/)
  return at.getUTCMilliseconds() === 0 ? `${date} ${time.slice(0, 8)}` : `${date} ${time}000`
}

function checkOptions(options: NotifierOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !KNOWN.includes(name)) throw new InvalidOptionError(name, 'is unknown')
  }
  const { publisherId, drivers, topics, retry } = options
  if (typeof publisherId !== 'string' || publisherId === '')
    throw new InvalidOptionError('publisherId', 'must be a name')
  if (topics !== undefined) checkTopics('topics', topics)
  if (drivers !== undefined && !(Array.isArray(drivers) && drivers.every((driver) => DRIVERS.includes(driver)))) {
    throw new InvalidOptionError('drivers', "must be some of 'messaging', 'messagingv2', 'noop'")
  }
  if (retry !== undefined && !(Number.isSafeInteger(retry) && retry >= -1)) {
    throw new InvalidOptionError('retry', 'must be a whole number of at least -1')
  }
}
