import { backoffDelay } from '../core/backoff.js'
import { ClosedError, ConnectionLostError, TimeoutError, toError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { Deferred, now, sleep } from '../core/timing.js'
import type { Channel } from './channel.js'
import { isTemporary, replyCode } from './classify.js'
import type { Counters } from './counters.js'
import { Deliveries, type MessageHandler } from './deliveries.js'
import type { DriverMessage } from './driver.js'
import { QueueKindError } from './errors.js'
import { QueueMemory, type QueueMemories } from './queue-memory.js'
import { watchQueue } from './queue-watch.js'
import type { Session } from './session.js'
import { StreamPosition } from './stream-position.js'
import { Subscriber, type Subscribed } from './subscriber.js'
import type { ResolvedSubscription } from './subscription.js'
import type { Topology } from './topology.js'

/** State of a consumer: `waiting` for a connection, or for the queue to be usable again. */
export type ConsumerState = 'waiting' | 'active' | 'closing' | 'closed'

/** One consumer's figures. */
export interface ConsumerStatus {
  /** Name of the queue; an exclusive queue may have another one after a reconnect. */
  readonly queue: string
  readonly state: ConsumerState
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
  readonly standby: {
    readonly session: Session | undefined
    next(signal: AbortSignal): Promise<Session>
  }
  /** A session that is nobody else's, to try on it what may end it; the caller closes it. */
  readonly spareSession: (signal: AbortSignal) => Promise<Session>
  /** The broker refuses the queue since now. */
  readonly onRefused: (session: Session, what: string, error: Error) => void
  /** Gives up a session for another host. */
  readonly leave: (session: Session, cause: Error) => void
  readonly whyWaiting: () => Error
  readonly onClosed: (consumer: ManagedConsumer) => void
}

const RETRY = Object.freeze({ initialMs: 100, factor: 2 })
/** What the broker refuses for good may be mended by an operator. */
const RETRY_REFUSED = Object.freeze({ initialMs: 1000, factor: 2, maxMs: 30_000 })
const DEFAULT_CLOSE_TIMEOUT_MS = 10_000
/** A subscription that ends sooner counts as another failure. */
const STABLE_AFTER_MS = 5000
/** After a failover queues get new leaders, and a subscription may miss it. */
const SETTLING_MS = 20_000
/** How soon a silent queue is asked for, an attempt without an answer is repeated, and the longest pause between attempts. */
const PACE = Object.freeze({
  settling: Object.freeze({ watchMs: 1000, consumeMs: 1000, pauseMs: 500 }),
  settled: Object.freeze({ watchMs: 5000, consumeMs: 15_000, pauseMs: 5000 }),
})
const PROOF_LIMIT_MS = 20_000
const SPARE_CLOSE_LIMIT_MS = 1000

/** A subscription that is made again on every connection, and after the broker cancelled it, until `close()`. @internal */
export class ManagedConsumer implements Consumer {
  readonly #subscription: ResolvedSubscription
  readonly #context: ConsumerContext
  readonly #subscriber: Subscriber
  readonly #deliveries: Deliveries
  readonly #stop = new AbortController()
  readonly #started = new Deferred<undefined>()
  #state: ConsumerState = 'waiting'
  #subscribed: Subscribed | undefined
  #lastError: Error | undefined
  #isAsking = false
  #failures = 0
  /** True when its last attempt may have ended the connection of all consumers. */
  #isDangerous = false
  /** When the last connection was lost, or the consumer was made. */
  #unsettledAt = now()
  /** How often in a row it was found without the messages that its queue has, and what had come until then. */
  #starving = { count: 0, deliveredCount: 0 }
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
  }

  get queue(): string {
    return this.#subscriber.declaration.queue
  }

  /** True while the broker's silence would be strange. */
  get isExpecting(): boolean {
    return this.#isAsking || (this.#state === 'active' && this.#deliveries.isExpecting)
  }

  /** The host has shown that it lives: its silence only means that the queue is empty. */
  reassure(): void {
    this.#deliveries.reassure()
  }

  /** The servers refuse us: whoever waits for the first subscription need not wait any longer. */
  refuse(error: Error): void {
    if (!this.#started.settled) this.destroy(error)
  }

  /** Resolves at the first subscription; rejects with the broker's refusal, or when the wait ends. */
  async start(wait: WaitOptions): Promise<void> {
    void this.#run()
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
    this.#subscribed?.channel.dismiss()
    this.#context.topology.removeQueue(this.#subscriber.declaration)
    this.#context.onClosed(this)
  }

  async #close(timeoutMs: number): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closing'
    const reason = new ClosedError(`consumer of '${this.queue}'`)
    this.#stop.abort(reason)
    this.#started.reject(reason)
    const limit = timeoutMs === Infinity ? {} : { timeoutMs }
    await waitWithin(this.#drain(), limit, () => reason).catch(() => undefined)
    this.destroy(reason)
  }

  async #drain(): Promise<void> {
    const { channel, consumerTag } = this.#subscribed ?? {}
    // Cancelled before anything is given back, or the broker would deliver it to us again.
    this.#deliveries.hold()
    if (channel?.isOpen === true && consumerTag !== undefined) {
      await channel.raw.cancel(consumerTag).catch(() => undefined)
    }
    await this.#deliveries.drain()
    // Closing the channel is a round trip behind the acknowledgements: they have arrived when it is answered.
    if (channel?.isOpen === true) await channel.raw.close().catch(() => undefined)
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    const isStopped = (): boolean => signal.aborted
    while (!isStopped()) {
      let pauseMs = 0
      let session: Session | undefined
      try {
        if (this.#isDangerous) await this.#prove(signal)
        session = await this.#context.session(signal)
        pauseMs = await this.#stay(session)
      } catch (error) {
        if (isStopped()) return
        pauseMs = this.#onFailed(toError(error), session)
      }
      if (pauseMs > 0) await sleep(pauseMs, signal).catch(() => undefined)
    }
  }

  /** Subscribes, and stays until that ends; returns how long to wait before the next attempt. */
  async #stay(session: Session): Promise<number> {
    this.#isAsking = true
    const subscribed = await this.#subscriber
      .subscribe(session, (channel, raw) => this.#onDelivery(channel, raw), this.#pace.consumeMs)
      .finally(() => (this.#isAsking = false))
    const since = now()
    this.#onActive(subscribed)
    const { channel } = subscribed
    const ended = new Promise<Error>((resolve) => {
      channel.ending.on(({ error }) => {
        this.#onEnded(channel, error)
        resolve(error)
      })
    })
    void this.#watch(session, channel)
    await ended
    if (now() - since >= STABLE_AFTER_MS) this.#failures = 0
    if (!session.isOpen) {
      this.#unsettledAt = now()
      return 0
    }
    this.#failures += 1
    // The first time at once: a cancelled or renewed subscription is usually accepted.
    return this.#failures === 1 ? 0 : this.#retryDelay(this.#failures - 1)
  }

  async #watch(session: Session, channel: Channel): Promise<void> {
    const { type, isPassive, declaration, consumer } = this.#subscription
    // Others may be first in line for what is ready.
    const isOneOfMany = 'x-single-active-consumer' in declaration.arguments || consumer.priority !== undefined
    const finding = await watchQueue({
      session,
      channel,
      queue: this.queue,
      isOwedReady: () => type !== 'stream' && !(isOneOfMany && this.#isSettled),
      deliveredCount: () => this.#deliveries.deliveredCount,
      isIdle: () => this.#deliveries.isIdle,
      intervalMs: () => this.#pace.watchMs,
    })
    if (finding === undefined || !channel.isOpen) return
    if (finding === 'starving' && this.#countStarving() > 1 && this.#isSettled && !isOneOfMany && !isPassive) {
      this.#starving.count = 0
      this.#context.leave(session, new Error(`it delivers none of the messages that queue '${this.queue}' has`))
    } else {
      this.#failures = 0
      channel.dismiss()
    }
  }

  #countStarving(): number {
    const { deliveredCount } = this.#deliveries
    const isSame = this.#starving.deliveredCount === deliveredCount
    this.#starving = { count: isSame ? this.#starving.count + 1 : 1, deliveredCount }
    return this.#starving.count
  }

  /**
   * Subscribes on a connection of its own first: the broker closes the whole connection, with 541, when a quorum queue
   * without a leader is consumed, and would do so to the other consumers again and again.
   */
  async #prove(signal: AbortSignal): Promise<void> {
    const session = await this.#context.spareSession(signal)
    try {
      const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, `consume '${this.queue}'`)
      await waitWithin(
        this.#subscriber.prove(session, this.#pace.consumeMs),
        { timeoutMs: PROOF_LIMIT_MS, signal },
        late,
      )
      this.#isDangerous = false
    } finally {
      const reason = new ClosedError('connection')
      void waitWithin(session.close(), { timeoutMs: SPARE_CLOSE_LIMIT_MS }, () => reason).catch(() =>
        session.cut(reason),
      )
    }
  }

  #onActive({ channel, consumerTag }: Subscribed): void {
    if (this.#stop.signal.aborted) {
      channel.dismiss()
      return
    }
    this.#subscribed = { channel, consumerTag }
    this.#lastError = undefined
    this.#state = 'active'
    this.#context.topology.addQueue(this.#subscriber.declaration)
    this.#started.resolve(undefined)
    this.#subscription.onSubscribed?.()
  }

  /** An attempt failed; returns how long to wait before the next. */
  #onFailed(error: Error, session: Session | undefined): number {
    const isNews = this.#lastError?.message !== error.message
    this.#lastError = error
    const isLost = error instanceof ConnectionLostError
    if (session?.isOpen === false) this.#unsettledAt = now()
    const isForbidden = error instanceof QueueKindError
    const hasEndedConnection = isForbidden || (isLost && replyCode(error.cause) === 541)
    this.#isDangerous ||= hasEndedConnection && this.#subscription.type !== 'exclusive'
    // The next connection is waited for anyway.
    if (isLost && !this.#isDangerous) return 0
    this.#failures += 1
    if (isTemporary(error) && !isForbidden) return this.#retryDelay(this.#failures)
    if (!this.#started.settled) this.destroy(error)
    else if (isNews && session !== undefined) {
      this.#context.onRefused(session, `consumer of queue '${this.queue}'`, error)
    }
    return replyCode(error) === 404 ? this.#retryDelay(this.#failures) : backoffDelay(this.#failures, RETRY_REFUSED)
  }

  get #isSettled(): boolean {
    return now() - this.#unsettledAt >= SETTLING_MS
  }

  get #pace(): { readonly watchMs: number; readonly consumeMs: number; readonly pauseMs: number } {
    return this.#isSettled ? PACE.settled : PACE.settling
  }

  #retryDelay(failures: number): number {
    return backoffDelay(failures, { ...RETRY, maxMs: this.#pace.pauseMs })
  }

  #onDelivery(channel: Channel, raw: DriverMessage | null): void {
    if (raw !== null) {
      if (channel.isOpen) this.#deliveries.accept(raw, channel)
      return
    }
    // basic.cancel: the queue was deleted, its node left, or the broker waited too long for an acknowledgement. What is
    // being handled can still be acknowledged on the channel, but a fresh one is simpler, and the broker delivers those
    // messages again.
    this.#lastError = new Error(`the broker cancelled the consumer of '${this.queue}'`)
    channel.dismiss()
  }

  #onEnded(channel: Channel, error: Error): void {
    this.#deliveries.takeAway(channel, error)
    if (this.#subscribed?.channel !== channel) return
    this.#subscribed = undefined
    const { declaration } = this.#subscriber
    if (declaration.isExclusive) this.#context.topology.removeQueue(declaration)
    if (this.#state !== 'active') return
    this.#state = 'waiting'
    this.#lastError = error instanceof ConnectionLostError ? error : (this.#lastError ?? error)
  }
}
