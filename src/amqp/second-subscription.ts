import { backoffDelay } from '../core/backoff.js'
import { ClosedError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import type { Channel } from './channel.js'
import type { Session } from './session.js'
import type { Subscribed } from './subscriber.js'

/** How a second subscription is made. @internal */
export interface SecondSubscriptionContext {
  /** Where it is to be; `undefined` while there is no such place. */
  readonly place: () => Session | undefined
  /** True while it is of use where it is, although there is no better place. */
  readonly mayStay: (session: Session) => boolean
  readonly subscribe: (session: Session) => Promise<Subscribed>
  /** The channel has ended: what it delivered belongs to the broker again. */
  readonly onEnded: (channel: Channel, error: Error) => void
}

/** The broker ends the whole connection of whoever consumes a quorum queue without a leader: it is not tried often. */
const RETRY = Object.freeze({ initialMs: 1000, factor: 2, maxMs: 60_000 })
/** A subscription that ends sooner counts as another failure. */
const STABLE_AFTER_MS = 5000
/** A broker that does not answer goes on delivering: the channel is closed without that. */
const CANCEL_LIMIT_MS = 5000

/**
 * The other subscription of a consumer, on another host.
 *
 * It stays on its connection, also when that takes over publishing, until the first subscription works again and there is
 * a better place: a channel that consumed before a host froze follows to the queue's next leader, whereas a new one may
 * wait for the frozen host (RabbitMQ 3.10).
 * @internal
 */
export class SecondSubscription {
  readonly #context: SecondSubscriptionContext
  readonly #retiring = new Set<Subscribed>()
  #current: Subscribed | undefined
  #isAsking = false
  #isStopped = false
  #failures = 0
  #pause: NodeJS.Timeout | undefined

  constructor(context: SecondSubscriptionContext) {
    this.#context = context
  }

  /** The one that delivers. */
  get current(): Subscribed | undefined {
    return this.#current
  }

  /** All that may still deliver, or get verdicts. */
  all(): readonly Subscribed[] {
    return this.#current === undefined ? [...this.#retiring] : [this.#current, ...this.#retiring]
  }

  /** Something has changed by which another place may be right. */
  consider(): void {
    if (this.#isStopped || this.#isAsking || this.#pause !== undefined) return
    const { place, mayStay } = this.#context
    const current = this.#current
    const session = place()
    if (session !== undefined && session !== current?.session) void this.#move(session)
    else if (current !== undefined && !mayStay(current.session)) {
      this.#current = undefined
      void this.#retire(current)
    }
  }

  /** Makes no further attempt, and leaves it to the caller to close what there is. */
  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#pause)
  }

  async #move(session: Session): Promise<void> {
    this.#isAsking = true
    try {
      this.#take(await this.#context.subscribe(session))
    } catch {
      this.#fail()
    }
    this.#isAsking = false
    this.consider()
  }

  #take(next: Subscribed): void {
    const former = this.#current
    const since = now()
    if (this.#isStopped) {
      next.channel.dismiss()
      return
    }
    this.#current = next
    next.channel.ending.on(({ error }) => {
      this.#retiring.delete(next)
      this.#context.onEnded(next.channel, error)
      if (this.#current !== next) return
      this.#current = undefined
      if (now() - since >= STABLE_AFTER_MS) this.#failures = 0
      this.#fail()
    })
    if (former !== undefined) void this.#retire(former)
  }

  #fail(): void {
    if (this.#isStopped) return
    this.#failures += 1
    clearTimeout(this.#pause)
    this.#pause = setTimeout(
      () => {
        this.#pause = undefined
        this.consider()
      },
      backoffDelay(this.#failures, RETRY),
    ).unref()
  }

  /** What it delivered is still handled, and acknowledged there. */
  async #retire(former: Subscribed): Promise<void> {
    const { channel, consumerTag } = former
    this.#retiring.add(former)
    const late = (): Error => new ClosedError('subscription')
    const isCancelled = await waitWithin(channel.raw.cancel(consumerTag), { timeoutMs: CANCEL_LIMIT_MS }, late).then(
      () => true,
      () => false,
    )
    if (isCancelled) await channel.settled()
    if (!this.#isStopped) channel.dismiss()
  }
}
