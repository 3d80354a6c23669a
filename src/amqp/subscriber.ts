import { randomUUID } from 'node:crypto'
import { TimeoutError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import type { Channel } from './channel.js'
import { isQueueGone, replyCode } from './classify.js'
import type { DriverMessage } from './driver.js'
import type { Session } from './session.js'
import { OFFSET_HEADER, offsetArgument, type StreamPosition } from './stream-position.js'
import type { ResolvedSubscription } from './subscription.js'
import { QueueKindError } from './errors.js'
import type { QueueDeclaration, Topology } from './topology.js'

/** Gets what a subscription delivers; `null` when the broker cancelled it. @internal */
export type OnDelivery = (channel: Channel, raw: DriverMessage | null) => void

/** A subscription that the broker has accepted. @internal */
export interface Subscribed {
  readonly session: Session
  readonly channel: Channel
  readonly consumerTag: string
}

/** How it is subscribed. @internal */
export interface Order {
  readonly onDelivery: OnDelivery
  /** How long the broker may take to answer, in milliseconds. */
  readonly limitMs: number
  readonly prefetch: number
}

/** A binding waits for the cluster to give up a frozen node: its net_ticktime, 60 s by default. */
const DECLARE_LIMIT_MS = 90_000
/** The broker keeps an exclusive queue for a connection that was cut off until it misses its heartbeats. */
const LOCKED_LIMIT_MS = 5000

/** Declares a consumer's queue where it has to be, and subscribes to it. @internal */
export class Subscriber {
  readonly #subscription: ResolvedSubscription
  readonly #topology: Topology
  readonly #position: StreamPosition | undefined
  #declaration: QueueDeclaration
  #isDeclared: boolean
  /** Where an exclusive queue was declared. */
  #owner: Session | undefined
  #hasSubscribed = false
  #lockedSince: number | undefined

  constructor(subscription: ResolvedSubscription, topology: Topology, position: StreamPosition | undefined) {
    this.#subscription = subscription
    this.#topology = topology
    this.#position = position
    this.#declaration = subscription.declaration
    this.#isDeclared = subscription.isPassive
  }

  /** The queue with its name at present. */
  get declaration(): QueueDeclaration {
    return this.#declaration
  }

  /** Subscribes on a channel of its own; rejects with the broker's refusal. A failover never makes a queue that exists. */
  async subscribe(session: Session, order: Order): Promise<Subscribed> {
    const { isExclusive } = this.#declaration
    if (isExclusive && this.#owner !== session) await this.#own(session)
    const isNew = !this.#isDeclared
    if (isNew) await this.#declare(session)
    try {
      return await this.subscribeAgain(session, order)
    } catch (error) {
      if (!isQueueGone(error) || isNew || this.#subscription.isPassive) throw error
    }
    await this.#declare(session)
    this.#position?.reset()
    return this.subscribeAgain(session, order)
  }

  /** Subscribes and gives it up again: to see whether the broker can. */
  async prove(session: Session, limitMs: number): Promise<void> {
    if (!this.#isDeclared) await this.#declare(session)
    const { channel } = await this.subscribeAgain(session, { onDelivery: () => undefined, limitMs, prefetch: 1 })
    channel.dismiss()
  }

  /** An exclusive queue ends with its connection, but not at once when that was cut off. */
  async #own(session: Session): Promise<void> {
    const { declaration, isNameless } = this.#subscription
    this.#isDeclared = false
    if (this.#lockedSince === undefined) this.#declaration = declaration
    try {
      await this.#declare(session)
    } catch (error) {
      if (replyCode(error) !== 405 || !this.#hasSubscribed) throw error
      this.#lockedSince ??= now()
      if (!isNameless && now() - this.#lockedSince < LOCKED_LIMIT_MS) throw error
      this.#declaration = { ...declaration, queue: `${declaration.queue}.${randomUUID().slice(0, 8)}` }
      await this.#declare(session)
    }
    this.#lockedSince = undefined
    this.#owner = session
  }

  async #declare(session: Session): Promise<void> {
    this.#isDeclared = false
    const { declare } = this.#subscription
    if (declare !== undefined) {
      await answered(declare(session), DECLARE_LIMIT_MS, `declare queue '${this.#declaration.queue}'`)
      this.#isDeclared = true
      return
    }
    await onChannel(session, async (channel) => {
      const declared = this.#topology.declareQueue(channel, this.#declaration)
      await answered(declared, DECLARE_LIMIT_MS, `declare queue '${this.#declaration.queue}'`)
      channel.dismiss()
    })
    this.#isDeclared = true
  }

  /** Subscribes to the queue as it is. */
  async subscribeAgain(session: Session, { onDelivery, limitMs, prefetch }: Order): Promise<Subscribed> {
    const { queue } = this.#declaration
    const { exclusive } = this.#subscription.consumer
    const options = { exclusive, arguments: this.#arguments() }
    return onChannel(session, async (channel) => {
      const asked = channel.raw
        .prefetch(prefetch)
        .then(() => channel.raw.consume(queue, (raw) => onDelivery(channel, raw), options))
      const { consumerTag } = await answered(asked, limitMs, `consume '${queue}'`)
      this.#hasSubscribed = true
      this.#position?.subscribed()
      return { session, channel, consumerTag }
    })
  }

  #arguments(): Record<string, unknown> {
    const { consumer, nextPriority } = this.#subscription
    const priority = nextPriority?.() ?? consumer.priority
    return {
      ...consumer.arguments,
      ...(priority === undefined ? {} : { 'x-priority': priority }),
      ...(this.#position === undefined ? {} : { [OFFSET_HEADER]: offsetArgument(this.#position.restart()) }),
    }
  }
}

/** Runs `work` on a new channel; when it fails, gives the channel up and rejects with the broker's reason, if there is one. */
async function onChannel<T>(session: Session, work: (channel: Channel) => Promise<T>): Promise<T> {
  const channel = await session.openChannel()
  try {
    return await work(channel)
  } catch (error) {
    const refusal = error instanceof QueueKindError ? error : (channel.ending.value?.error ?? error)
    channel.dismiss()
    throw refusal
  }
}

async function answered<T>(work: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  return waitWithin(work, { timeoutMs }, (elapsedMs) => new TimeoutError('operation', elapsedMs, what))
}
