import { backoffDelay } from '../core/backoff.js'
import { ClosedError, ConnectionLostError, TimeoutError, toError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { Deferred, sleep } from '../core/timing.js'
import type { Channel } from './channel.js'
import { isQueueGone, isTemporary } from './classify.js'
import type { Counters } from './counters.js'
import { Deliveries, type MessageHandler } from './deliveries.js'
import { watchQueue } from './queue-watch.js'
import type { Session } from './session.js'
import type { ResolvedSubscription } from './subscription.js'
import type { Topology } from './topology.js'

/** State of a consumer: `waiting` for a connection, or for the queue to be usable again. */
export type ConsumerState = 'waiting' | 'active' | 'closing' | 'closed'

/** One consumer's figures. */
export interface ConsumerStatus {
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
  /** Why it is not active, or the last failure of a handler. */
  readonly lastError: Error | undefined
}

/** A running consumer, as `transport.consume` returns it. */
export interface Consumer {
  readonly queue: string
  /** A frozen snapshot. */
  status(): ConsumerStatus
  /**
   * Stops the delivery, waits for running handlers, for `timeoutMs` (10 s) at most, and gives the rest back to the
   * queue. Never rejects.
   */
  close(options?: { readonly timeoutMs?: number }): Promise<void>
  /** {@link Consumer.close} with its defaults, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** What a consumer gets from the transport. @internal */
export interface ConsumerContext {
  readonly topology: Topology
  readonly counters: Counters
  /** The session to consume on, as soon as there is one. */
  readonly session: (signal: AbortSignal) => Promise<Session>
  readonly whyWaiting: () => Error
  readonly onClosed: (consumer: ManagedConsumer) => void
}

const RETRY = Object.freeze({ initialMs: 100, factor: 2, maxMs: 5000 })
const DEFAULT_CLOSE_TIMEOUT_MS = 10_000

/** A subscription that is made again on every connection, and after the broker cancelled it, until `close()`. @internal */
export class ManagedConsumer implements Consumer {
  readonly #subscription: ResolvedSubscription
  readonly #context: ConsumerContext
  readonly #deliveries: Deliveries
  readonly #stop = new AbortController()
  readonly #started = new Deferred<undefined>()
  #state: ConsumerState = 'waiting'
  #channel: Channel | undefined
  #consumerTag: string | undefined
  #lastError: Error | undefined
  #isDeclared: boolean
  #isAsking = false
  #closing: Promise<void> | undefined

  constructor(subscription: ResolvedSubscription, handler: MessageHandler, context: ConsumerContext) {
    this.#subscription = subscription
    this.#context = context
    this.#deliveries = new Deliveries(subscription, handler, context.counters)
    this.#isDeclared = subscription.isPassive
  }

  get queue(): string {
    return this.#subscription.declaration.queue
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
    const {
      deliveredCount: delivered,
      ackedCount: acked,
      failedCount: failed,
      runningCount: running,
    } = this.#deliveries
    const lastError = this.#lastError ?? this.#deliveries.lastError
    return Object.freeze({ queue: this.queue, state: this.#state, delivered, acked, failed, running, lastError })
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
    if (this.#channel !== undefined) this.#deliveries.takeAway(this.#channel, reason)
    this.#channel?.dismiss()
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
    const channel = this.#channel
    const tag = this.#consumerTag
    // Cancelled before anything is given back, or the broker would deliver it to us again.
    this.#deliveries.hold()
    if (channel?.isOpen === true && tag !== undefined) await channel.raw.cancel(tag).catch(() => undefined)
    await this.#deliveries.drain()
    // Closing the channel is a round trip behind the acknowledgements: they have arrived when it is answered.
    if (channel?.isOpen === true) await channel.raw.close().catch(() => undefined)
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    const isStopped = (): boolean => signal.aborted
    for (let failures = 1; !isStopped(); failures += 1) {
      try {
        const session = await this.#context.session(signal)
        this.#isAsking = true
        const { ended } = await this.#subscribe(session).finally(() => (this.#isAsking = false))
        failures = 0
        await ended
        if (!session.isOpen) continue
      } catch (error) {
        if (isStopped()) return
        this.#lastError = toError(error)
        if (!this.#started.settled && !isTemporary(error)) {
          this.destroy(toError(error))
          return
        }
      }
      await sleep(backoffDelay(Math.max(1, failures), RETRY), signal).catch(() => undefined)
    }
  }

  /** Subscribes; `ended` of the result resolves when the subscription is over. */
  async #subscribe(session: Session): Promise<{ readonly ended: Promise<void> }> {
    await this.#declare(session)
    const channel = await session.openChannel()
    const ended = new Promise<void>((resolve) => {
      channel.ending.on(({ error }) => {
        this.#onEnded(channel, error)
        resolve()
      })
    })
    try {
      await channel.raw.prefetch(this.#subscription.prefetch)
      const { nextPriority } = this.#subscription
      const { consumerTag } = await channel.raw.consume(
        this.queue,
        (raw) => this.#onDelivery(channel, raw),
        nextPriority === undefined ? {} : { priority: nextPriority() },
      )
      this.#onActive(channel, consumerTag)
      void watchQueue(session, channel, this.queue, () => this.#deliveries.deliveredCount)
    } catch (error) {
      const refusal = channel.ending.value?.error ?? error
      if (isQueueGone(refusal) && !this.#subscription.isPassive) this.#isDeclared = false
      channel.dismiss()
      throw refusal
    }
    return { ended }
  }

  /** The first time, and when the queue is gone. A failover never makes a queue that exists. */
  async #declare(session: Session): Promise<void> {
    if (this.#isDeclared) return
    const { declare } = this.#subscription
    if (declare !== undefined) {
      await declare(session)
      this.#isDeclared = true
      return
    }
    const channel = await session.openChannel()
    try {
      await this.#context.topology.declareQueue(channel, this.#subscription.declaration)
    } finally {
      channel.dismiss()
    }
    this.#isDeclared = true
  }

  #onActive(channel: Channel, consumerTag: string): void {
    if (this.#stop.signal.aborted) {
      channel.dismiss()
      return
    }
    this.#channel = channel
    this.#consumerTag = consumerTag
    this.#lastError = undefined
    this.#state = 'active'
    this.#context.topology.addQueue(this.#subscription.declaration)
    this.#started.resolve(undefined)
    this.#subscription.onSubscribed?.()
  }

  #onDelivery(channel: Channel, raw: Parameters<Deliveries['accept']>[0] | null): void {
    if (raw !== null) {
      if (channel.isOpen) this.#deliveries.accept(raw, channel)
      return
    }
    // basic.cancel: the queue was deleted, or its node left. What is being handled can still be acknowledged on the
    // channel, but a fresh one is simpler, and the broker delivers those messages again.
    this.#lastError = new Error(`the broker cancelled the consumer of '${this.queue}'`)
    channel.dismiss()
  }

  #onEnded(channel: Channel, error: Error): void {
    this.#deliveries.takeAway(channel, error)
    if (this.#channel !== channel) return
    this.#channel = undefined
    this.#consumerTag = undefined
    if (this.#state !== 'active') return
    this.#state = 'waiting'
    this.#lastError = error instanceof ConnectionLostError ? error : (this.#lastError ?? error)
  }
}
