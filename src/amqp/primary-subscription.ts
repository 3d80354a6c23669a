import { backoffDelay } from '../core/backoff.js'
import { ClosedError, ConnectionLostError, TimeoutError, toError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { now, sleep } from '../core/timing.js'
import type { Channel } from './channel.js'
import { isTemporary, replyCode } from './classify.js'
import type { ConsumerContext } from './consumer.js'
import { QueueKindError } from './errors.js'
import { watchQueue } from './queue-watch.js'
import type { Session } from './session.js'
import type { Order, Subscribed, Subscriber } from './subscriber.js'
import type { ResolvedSubscription } from './subscription.js'

/** What a subscription needs, and whom it tells of its fortunes. @internal */
export interface PrimarySubscriptionContext {
  readonly subscription: ResolvedSubscription
  readonly connections: Pick<ConsumerContext, 'session' | 'spareSession' | 'leave'>
  readonly prefetch: () => number
  /** Ends it. */
  readonly signal: AbortSignal
  readonly onDelivery: Order['onDelivery']
  readonly onActive: () => void
  /** The channel has ended: what it delivered belongs to the broker again. */
  readonly onEnded: (channel: Channel, error: Error) => void
  /** An attempt failed; `isFinal` when the next one would fail as well. */
  readonly onFailed: (error: Error, session: Session | undefined, isFinal: boolean) => void
}

const RETRY = Object.freeze({ initialMs: 100, factor: 2 })
/** What the broker refuses for good may be mended by an operator. */
const RETRY_REFUSED = Object.freeze({ initialMs: 1000, factor: 2, maxMs: 30_000 })
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

/** A subscription on the connection that consumes: made again on each one, and whenever the broker ends it. @internal */
export class PrimarySubscription {
  readonly #subscriber: Subscriber
  readonly #context: PrimarySubscriptionContext
  readonly #signal: AbortSignal
  #subscribed: Subscribed | undefined
  #asking: Session | undefined
  #failures = 0
  /** True when its last attempt may have ended the connection of all consumers. */
  #isDangerous = false
  /** When the last connection was lost, or the consumer was made. */
  #unsettledAt = now()
  /** Messages that came by it. */
  #deliveredCount = 0
  /** How often in a row it was found without the messages that its queue has, and what had come until then. */
  #starving = { count: 0, deliveredCount: 0 }

  constructor(subscriber: Subscriber, context: PrimarySubscriptionContext) {
    this.#subscriber = subscriber
    this.#context = context
    this.#signal = context.signal
  }

  /** What the broker has accepted, while it is in force. */
  get subscribed(): Subscribed | undefined {
    return this.#subscribed
  }

  /** True while the broker is asked for it on this connection. */
  isAsking(session: Session): boolean {
    return this.#asking === session
  }

  async run(): Promise<void> {
    const isStopped = (): boolean => this.#signal.aborted
    while (!isStopped()) {
      let pauseMs = 0
      let session: Session | undefined
      try {
        if (this.#isDangerous) await this.#prove()
        session = await this.#context.connections.session(this.#signal)
        pauseMs = await this.#stay(session)
      } catch (error) {
        if (isStopped()) return
        pauseMs = this.#onFailed(toError(error), session)
      }
      if (pauseMs > 0) await sleep(pauseMs, this.#signal).catch(() => undefined)
    }
  }

  /** Subscribes, and stays until that ends; returns how long to wait before the next attempt. */
  async #stay(session: Session): Promise<number> {
    this.#asking = session
    const order = {
      onDelivery: this.#onDelivery,
      limitMs: this.#pace.consumeMs,
      prefetch: this.#context.prefetch(),
    }
    const subscribed = await this.#subscriber.subscribe(session, order).finally(() => (this.#asking = undefined))
    const since = now()
    const { channel } = subscribed
    if (this.#signal.aborted) channel.dismiss()
    else {
      this.#subscribed = subscribed
      this.#context.onActive()
    }
    const ended = new Promise<void>((resolve) => {
      channel.ending.on(({ error }) => {
        if (this.#subscribed === subscribed) this.#subscribed = undefined
        this.#context.onEnded(channel, error)
        resolve()
      })
    })
    void this.#watch(subscribed)
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

  readonly #onDelivery: Order['onDelivery'] = (channel, raw) => {
    if (raw !== null) this.#deliveredCount += 1
    this.#context.onDelivery(channel, raw)
  }

  async #watch({ session, channel }: Subscribed): Promise<void> {
    const { type, isPassive, declaration, consumer } = this.#context.subscription
    const { queue } = this.#subscriber.declaration
    // Others may be first in line for what is ready.
    const isOneOfMany = 'x-single-active-consumer' in declaration.arguments || consumer.priority !== undefined
    const finding = await watchQueue({
      session,
      channel,
      queue,
      isOwedReady: () => type !== 'stream' && !(isOneOfMany && this.#isSettled),
      intervalMs: () => this.#pace.watchMs,
    })
    if (finding === undefined || !channel.isOpen) return
    if (finding === 'starving' && this.#countStarving() > 1 && this.#isSettled && !isOneOfMany && !isPassive) {
      this.#starving.count = 0
      this.#context.connections.leave(session, new Error(`it delivers none of the messages that queue '${queue}' has`))
    } else {
      this.#failures = 0
      channel.dismiss()
    }
  }

  #countStarving(): number {
    const deliveredCount = this.#deliveredCount
    const isSame = this.#starving.deliveredCount === deliveredCount
    this.#starving = { count: isSame ? this.#starving.count + 1 : 1, deliveredCount }
    return this.#starving.count
  }

  /**
   * Subscribes on a connection of its own first: the broker closes the whole connection, with 541, when a quorum queue
   * without a leader is consumed, and would do so to the other consumers again and again.
   */
  async #prove(): Promise<void> {
    const signal = this.#signal
    const session = await this.#context.connections.spareSession(signal)
    const { queue } = this.#subscriber.declaration
    try {
      const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, `consume '${queue}'`)
      const proof = this.#subscriber.prove(session, this.#pace.consumeMs)
      await waitWithin(proof, { timeoutMs: PROOF_LIMIT_MS, signal }, late)
      this.#isDangerous = false
    } finally {
      const reason = new ClosedError('connection')
      void waitWithin(session.close(), { timeoutMs: SPARE_CLOSE_LIMIT_MS }, () => reason).catch(() =>
        session.cut(reason),
      )
    }
  }

  /** An attempt failed; returns how long to wait before the next. */
  #onFailed(error: Error, session: Session | undefined): number {
    const isLost = error instanceof ConnectionLostError
    if (session?.isOpen === false) this.#unsettledAt = now()
    const isForbidden = error instanceof QueueKindError
    const hasEndedConnection = isForbidden || (isLost && replyCode(error.cause) === 541)
    this.#isDangerous ||= hasEndedConnection && this.#context.subscription.type !== 'exclusive'
    // The next connection is waited for anyway.
    const isWaiting = isLost && !this.#isDangerous
    const isFinal = !isWaiting && (!isTemporary(error) || isForbidden)
    if (!isWaiting) this.#failures += 1
    this.#context.onFailed(error, session, isFinal)
    if (isWaiting) return 0
    if (!isFinal || replyCode(error) === 404) return this.#retryDelay(this.#failures)
    return backoffDelay(this.#failures, RETRY_REFUSED)
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
}
