import { ClosedError, ConnectionLostError, TimeoutError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { Deferred } from '../core/timing.js'
import type { Channel } from './channel.js'
import type { Counters } from './counters.js'
import { Deliveries, type MessageHandler } from './deliveries.js'
import type { DriverMessage } from './driver.js'
import { PrimarySubscription } from './primary-subscription.js'
import { QueueMemory, type QueueMemories } from './queue-memory.js'
import { SecondSubscription } from './second-subscription.js'
import type { Session } from './session.js'
import { StreamPosition } from './stream-position.js'
import { Subscriber, type Subscribed } from './subscriber.js'
import type { ResolvedSubscription } from './subscription.js'
import type { Topology } from './topology.js'

/**
 * State of a consumer: `waiting` for a connection, or for the queue to be usable again. One that is `redundant` may get
 * messages over another host meanwhile, see `hosts`.
 */
export type ConsumerState = 'waiting' | 'active' | 'closing' | 'closed'

/** One consumer's figures. */
export interface ConsumerStatus {
  /** Name of the queue; an exclusive queue may have another one after a reconnect. */
  readonly queue: string
  readonly state: ConsumerState
  /** `host:port` of the hosts that deliver: two for one that is `redundant`. */
  readonly hosts: readonly string[]
  /** Messages that came in, repetitions included. */
  readonly delivered: number
  /** Messages acknowledged. */
  readonly acked: number
  /** Handlers that failed. */
  readonly failed: number
  /** Handlers running now. */
  readonly running: number
  /** Deliveries of messages handled before, or being handled: acknowledged without calling the handler. */
  readonly duplicates: number
  /** Handlers that ended after their message had been taken away: it is delivered again. */
  readonly staleAcks: number
  /** Why it is not active, or the last failure of a handler. */
  readonly lastError: Error | undefined
}

/** A running consumer, as `transport.consume` returns it. */
export interface Consumer {
  /** Name of the queue; an exclusive queue may have another one after a reconnect. */
  readonly queue: string
  /** A frozen snapshot. */
  status(): ConsumerStatus
  /**
   * Stops the delivery, waits for running handlers, for `timeoutMs` (10 s) at most, and gives the rest back to the
   * queue. Acknowledgements have arrived when it resolves. At the limit the signals of the handlers' messages fire. Never
   * rejects.
   */
  close(options?: { readonly timeoutMs?: number }): Promise<void>
  /** {@link Consumer.close} with its defaults, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** What a consumer gets from the transport. @internal */
export interface ConsumerContext {
  readonly topology: Topology
  readonly counters: Counters
  readonly memories: QueueMemories
  /** The session to consume on, as soon as there is one. */
  readonly session: (signal: AbortSignal) => Promise<Session>
  /** The connection that stands by on another host, while there is one. It may become the one that publishes. */
  readonly standbySession: () => Session | undefined
  /** True if there is to be such a connection, and subscriptions may use it. */
  readonly hasStandby: () => boolean
  /** A session that is nobody else's, to try on it what may end it; the caller closes it. */
  readonly spareSession: (signal: AbortSignal) => Promise<Session>
  /** The broker refuses the queue since now. */
  readonly onRefused: (session: Session, what: string, error: Error) => void
  /** Gives up a session for another host. */
  readonly leave: (session: Session, cause: Error) => void
  readonly whyWaiting: () => Error
  readonly onClosed: (consumer: ManagedConsumer) => void
}

/** How long the broker may take to accept a second subscription. */
const SECOND_LIMIT_MS = 5000
const DEFAULT_CLOSE_TIMEOUT_MS = 10_000

/** A consumer from its first subscription until `close()`. @internal */
export class ManagedConsumer implements Consumer {
  readonly #subscription: ResolvedSubscription
  readonly #context: ConsumerContext
  readonly #subscriber: Subscriber
  readonly #deliveries: Deliveries
  readonly #primary: PrimarySubscription
  readonly #second: SecondSubscription
  readonly #stop = new AbortController()
  readonly #started = new Deferred<undefined>()
  #state: ConsumerState = 'waiting'
  #lastError: Error | undefined
  #closing: Promise<void> | undefined

  constructor(subscription: ResolvedSubscription, handler: MessageHandler, context: ConsumerContext) {
    const { type, dedupe, offset, declaration } = subscription
    const isStream = type === 'stream'
    this.#subscription = subscription
    this.#context = context
    const position = isStream ? new StreamPosition(offset) : undefined
    const { counters, topology, memories } = context
    this.#subscriber = new Subscriber(subscription, topology, position)
    // Every consumer of a stream gets all of its messages.
    const remember = (): QueueMemory | undefined => {
      if (dedupe === undefined) return undefined
      return isStream ? new QueueMemory(dedupe) : memories.of(declaration.queue, dedupe)
    }
    this.#deliveries = new Deliveries(subscription, handler, { counters, position, memory: remember() })
    const onDelivery = (channel: Channel, raw: DriverMessage | null): void => this.#onDelivery(channel, raw)
    this.#primary = new PrimarySubscription(this.#subscriber, {
      subscription,
      connections: context,
      prefetch: () => Math.ceil(this.#share),
      signal: this.#stop.signal,
      onDelivery,
      onActive: () => this.#onActive(),
      onEnded: (channel, error) => this.#onPrimaryEnded(channel, error),
      onFailed: (error, session, isFinal) => this.#onFailed(error, session, isFinal),
    })
    this.#second = new SecondSubscription({
      place: () => this.#placeOfSecond(),
      mayStay: (session) => !this.#hasProved || session.host !== this.#primary.subscribed?.session.host,
      subscribe: (session) => {
        const prefetch = Math.floor(this.#share)
        return this.#subscriber.subscribeAgain(session, { onDelivery, limitMs: SECOND_LIMIT_MS, prefetch })
      },
      onEnded: (channel, error) => this.#deliveries.takeAway(channel, error),
    })
  }

  get queue(): string {
    return this.#subscriber.declaration.queue
  }

  /** True while the broker's silence on this connection would be strange. */
  isExpecting(session: Session): boolean {
    const isOwed = (one: Subscribed): boolean => one.session === session && one.channel.isExpecting
    return this.#primary.isAsking(session) || this.#subscribed.some(isOwed)
  }

  /** The host has shown that it lives: its silence only means that the queue is empty. */
  reassure(session: Session): void {
    for (const one of this.#subscribed) if (one.session === session) one.channel.reassure()
  }

  /** There is another connection that stands by. */
  onStandby(): void {
    this.#second.consider()
  }

  /** The servers refuse us: whoever waits for the first subscription need not wait any longer. */
  refuse(error: Error): void {
    if (!this.#started.settled) this.destroy(error)
  }

  /** Resolves at the first subscription; rejects with the broker's refusal, or when the wait ends. */
  async start(wait: WaitOptions): Promise<void> {
    void this.#primary.run()
    const late = (elapsedMs: number): Error => {
      const cause = this.#lastError ?? this.#context.whyWaiting()
      return new TimeoutError('operation', elapsedMs, `consume '${this.queue}', ${cause.message}`, cause, true)
    }
    await waitWithin(this.#started.promise, wait, late, (reason) => this.destroy(reason))
  }

  status(): ConsumerStatus {
    const deliveries = this.#deliveries
    return Object.freeze({
      queue: this.queue,
      state: this.#state,
      hosts: Object.freeze(this.#hosts),
      delivered: deliveries.deliveredCount,
      acked: deliveries.ackedCount,
      failed: deliveries.failedCount,
      running: deliveries.runningCount,
      duplicates: deliveries.duplicateCount,
      staleAcks: deliveries.staleAckCount,
      lastError: this.#lastError ?? deliveries.lastError,
    })
  }

  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? DEFAULT_CLOSE_TIMEOUT_MS)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Ends at once; messages in work are delivered again. */
  destroy(reason: Error): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#stop.abort(reason)
    this.#started.reject(reason)
    this.#deliveries.end(reason)
    this.#second.stop()
    for (const { channel } of this.#subscribed) channel.dismiss()
    this.#context.topology.removeQueue(this.#subscriber.declaration)
    this.#context.onClosed(this)
  }

  async #close(timeoutMs: number): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closing'
    const reason = new ClosedError(`consumer of '${this.queue}'`)
    this.#stop.abort(reason)
    this.#started.reject(reason)
    this.#second.stop()
    const limit = timeoutMs === Infinity ? {} : { timeoutMs }
    await waitWithin(this.#drain(), limit, () => reason).catch(() => undefined)
    this.destroy(reason)
  }

  async #drain(): Promise<void> {
    const subscribed = this.#subscribed
    // Cancelled before anything is given back, or the broker would deliver it to us again.
    this.#deliveries.hold()
    await Promise.all(
      subscribed.map(async ({ channel, consumerTag }) => {
        if (channel.isOpen) await channel.raw.cancel(consumerTag).catch(() => undefined)
      }),
    )
    await this.#deliveries.drain()
    for (const { channel } of subscribed) channel.settleAll()
    // Closing a channel is a round trip behind the acknowledgements: they have arrived when it is answered.
    await Promise.all(
      subscribed.map(async ({ channel }) => {
        if (channel.isOpen) await channel.raw.close().catch(() => undefined)
      }),
    )
  }

  /** All that may deliver, or get verdicts. */
  get #subscribed(): readonly Subscribed[] {
    const { subscribed } = this.#primary
    return subscribed === undefined ? this.#second.all() : [subscribed, ...this.#second.all()]
  }

  get #hosts(): readonly string[] {
    const delivering = [this.#primary.subscribed, this.#second.current]
    return [...new Set(delivering.flatMap((one) => one?.session.host.name ?? []))]
  }

  /** Prefetch of one subscription, if two share it. */
  get #share(): number {
    const { prefetch, isRedundant } = this.#subscription
    return isRedundant && this.#context.hasStandby() ? prefetch / 2 : prefetch
  }

  /** True when messages come by the first subscription. */
  get #hasProved(): boolean {
    return (this.#primary.subscribed?.channel.deliveredCount ?? 0) > 0
  }

  #placeOfSecond(): Session | undefined {
    const { subscribed } = this.#primary
    const session = this.#context.standbySession()
    // A queue that the one has been accepted for has a leader.
    if (!this.#subscription.isRedundant || subscribed === undefined || session?.isOpen !== true) return undefined
    return session.host === subscribed.session.host ? undefined : session
  }

  #onActive(): void {
    this.#lastError = undefined
    this.#state = 'active'
    this.#context.topology.addQueue(this.#subscriber.declaration)
    this.#started.resolve(undefined)
    this.#subscription.onSubscribed?.()
    this.#second.consider()
  }

  #onFailed(error: Error, session: Session | undefined, isFinal: boolean): void {
    const isNews = this.#lastError?.message !== error.message
    this.#lastError = error
    if (!isFinal) return
    if (!this.#started.settled) this.destroy(error)
    else if (isNews && session !== undefined) {
      this.#context.onRefused(session, `consumer of queue '${this.queue}'`, error)
    }
  }

  #onDelivery(channel: Channel, raw: DriverMessage | null): void {
    if (raw !== null) {
      if (!channel.isOpen) return
      this.#deliveries.accept(raw, channel)
      if (channel.deliveredCount === 1) this.#second.consider()
      return
    }
    // basic.cancel: the queue was deleted, its node left, or the broker waited too long for an acknowledgement. What is
    // being handled can still be acknowledged on the channel, but a fresh one is simpler, and the broker delivers those
    // messages again.
    this.#lastError = new Error(`the broker cancelled the consumer of '${this.queue}'`)
    channel.dismiss()
  }

  #onPrimaryEnded(channel: Channel, error: Error): void {
    this.#deliveries.takeAway(channel, error)
    const { declaration } = this.#subscriber
    if (declaration.isExclusive) this.#context.topology.removeQueue(declaration)
    if (this.#state !== 'active') return
    this.#state = 'waiting'
    this.#subscription.onUnsubscribed?.()
    this.#lastError = error instanceof ConnectionLostError ? error : (this.#lastError ?? error)
  }
}
