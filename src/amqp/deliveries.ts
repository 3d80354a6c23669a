import { backoffDelay } from '../core/backoff.js'
import { diagnose } from '../core/diagnostics.js'
import { toError } from '../core/errors.js'
import { LinkedList } from '../core/linked-list.js'
import type { Channel } from './channel.js'
import type { Counters } from './counters.js'
import { Delivery, type DeliveryOwner, type Verdict } from './delivery.js'
import type { DriverMessage } from './driver.js'
import { FailureCounts, verdictOn } from './failures.js'
import { mayBeDuplicate, messageId, type Message } from './message.js'
import type { QueueMemory, Worker } from './queue-memory.js'
import { LatestIds, type Id } from './recent-ids.js'
import { offsetOf, type StreamPosition } from './stream-position.js'
import type { ResolvedSubscription } from './subscription.js'

/** Handles one message. It is acknowledged when the promise resolves, and goes back to the queue when it rejects. */
export type MessageHandler = (message: Message) => unknown

const MAX_REQUEUE_DELAY_MS = 30_000

/** What deliveries depend on beside their subscription. @internal */
export interface DeliveryContext {
  readonly counters: Counters
  /** What tells repeated messages; absent when they are not to be told. */
  readonly memory?: QueueMemory | undefined
  /** Where the consumer is in its stream, if it consumes one. */
  readonly position?: StreamPosition | undefined
}

/**
 * Runs a consumer's handlers, and gives each verdict to the channel that delivered the message.
 *
 * Delivery tags are counted per channel: a tag of an old channel names another message on the new one, so a verdict
 * that comes after its channel ended is dropped, and counted. A delivery is in one place at a time: waiting, running,
 * pausing before it goes back, or following a delivery of the same message.
 * @internal
 */
export class Deliveries implements DeliveryOwner, Worker {
  readonly #subscription: ResolvedSubscription
  readonly #handler: MessageHandler
  readonly #context: DeliveryContext
  readonly #failures = new FailureCounts()
  readonly #waiting = new LinkedList<Delivery>()
  readonly #running = new LinkedList<Delivery>()
  readonly #pauses = new Map<Delivery, NodeJS.Timeout>()
  readonly #following = new Set<Delivery>()
  readonly #acknowledgesBefore: boolean
  #whenIdle: (() => void)[] = []
  #isStarting = false
  #isDraining = false
  #isOver = false
  deliveredCount = 0
  ackedCount = 0
  failedCount = 0
  duplicateCount = 0
  staleAckCount = 0
  lastError: Error | undefined

  constructor(subscription: ResolvedSubscription, handler: MessageHandler, context: DeliveryContext) {
    this.#subscription = subscription
    this.#handler = handler
    this.#context = context
    this.#acknowledgesBefore = subscription.acknowledge === 'before'
    context.memory?.join(this)
  }

  get runningCount(): number {
    return this.#running.size
  }

  /** A message came in. */
  accept(raw: DriverMessage, channel: Channel): void {
    channel.delivered()
    this.deliveredCount += 1
    const delivery = new Delivery(raw, channel, this)
    this.#identify(delivery)
    this.admit(delivery)
  }

  /** Handles a delivery, as soon as it is its turn, unless it repeats one that was handled or is in work. */
  admit(delivery: Delivery): void {
    this.#following.delete(delivery)
    const repeated = this.#context.memory?.judge(delivery)
    if (repeated === undefined) this.#enqueue(delivery)
    else if (repeated === 'handled') this.repeated(delivery)
    else {
      this.#following.add(delivery)
      delivery.follow(repeated)
    }
  }

  find(id: Id): Delivery | undefined {
    const hasId = (delivery: Delivery): boolean => delivery.id === id
    return this.#running.values().find(hasId) ?? this.#waiting.values().find(hasId)
  }

  repeated(delivery: Delivery): void {
    this.#following.delete(delivery)
    this.duplicateCount += 1
    this.#context.counters.duplicates += 1
    this.#acknowledge(delivery)
  }

  failed(delivery: Delivery, verdict: Verdict, failures: number): void {
    this.#following.delete(delivery)
    this.#apply(delivery, verdict, failures)
  }

  /** The channel ended: what it delivered belongs to the broker again. */
  takeAway(channel: Channel, reason: Error): void {
    const isGone = (delivery: Delivery): boolean => delivery.channel === channel
    this.#drop(isGone)
    if (channel.acknowledged !== undefined) this.#context.memory?.keep(channel.acknowledged.all())
    // What was acknowledged before is ours alone: nobody else will get it.
    if (this.#acknowledgesBefore) return
    for (const delivery of this.#running.values()) if (isGone(delivery)) delivery.message.takeAway(reason)
  }

  /** Starts no further handler. */
  hold(): void {
    this.#isDraining = true
  }

  /** Starts no further handler, gives back what waits, and resolves when no handler runs. */
  async drain(): Promise<void> {
    this.hold()
    for (const delivery of this.#drop(() => true)) this.#giveBack(delivery)
    if (this.#running.size === 0) return
    await new Promise<void>((resolve) => this.#whenIdle.push(resolve))
  }

  /** Starts no further handler, and tells those that run that their work is in vain. */
  end(reason: Error): void {
    this.hold()
    this.#isOver = true
    this.#drop(() => true)
    for (const delivery of this.#running.values()) delivery.message.takeAway(reason)
    if (this.#running.size === 0) this.#context.memory?.leave(this)
  }

  #identify(delivery: Delivery): void {
    const { message } = delivery
    const { position } = this.#context
    if (position === undefined) {
      delivery.id = messageId(message)
      delivery.isSuspect = mayBeDuplicate(message)
      return
    }
    const offset = offsetOf(message)
    if (offset === undefined) return
    delivery.id = offset
    delivery.isSuspect = position.isRepeated(offset)
    delivery.mark = position.arrived(offset)
  }

  /** Takes deliveries off that are not being handled, and returns them. */
  #drop(isMeant: (delivery: Delivery) => boolean): readonly Delivery[] {
    const waiting = this.#waiting.values().filter(isMeant)
    const others = [...this.#pauses.keys(), ...this.#following].filter(isMeant)
    for (const delivery of waiting) if (delivery.place !== undefined) this.#waiting.remove(delivery.place)
    for (const delivery of others) {
      this.#endPause(delivery)
      this.#following.delete(delivery)
      delivery.unfollow()
    }
    for (const delivery of waiting) readmit(delivery.dismissFollowers())
    return [...waiting, ...others]
  }

  #enqueue(delivery: Delivery): void {
    const hasRoom = this.#running.size < this.#subscription.concurrency
    if (hasRoom && this.#waiting.size === 0 && !this.#isDraining) this.#start(delivery)
    else delivery.place = this.#waiting.push(delivery)
  }

  #next(): void {
    // A handler that is not asynchronous ends within its start.
    if (this.#isStarting) return
    this.#isStarting = true
    while (!this.#isDraining && this.#running.size < this.#subscription.concurrency) {
      const delivery = this.#waiting.shift()
      if (delivery === undefined) break
      this.#start(delivery)
    }
    this.#isStarting = false
  }

  #start(delivery: Delivery): void {
    if (this.#subscription.refuses?.(delivery.message) === true) {
      this.#reject(delivery)
      return
    }
    delivery.place = this.#running.push(delivery)
    if (this.#acknowledgesBefore) {
      this.#context.memory?.remember(delivery)
      this.#acknowledge(delivery)
    }
    try {
      const result = this.#handler(delivery.message)
      if (!isThenable(result)) this.#onSucceeded(delivery)
      else {
        Promise.resolve(result).then(
          () => this.#onSucceeded(delivery),
          (error: unknown) => this.#onFailed(delivery, toError(error)),
        )
      }
    } catch (error) {
      this.#onFailed(delivery, toError(error))
    }
  }

  #onSucceeded(delivery: Delivery): void {
    if (!this.#acknowledgesBefore) {
      this.#context.memory?.remember(delivery)
      this.#acknowledge(delivery)
    }
    if (delivery.hasFailed || delivery.message.redelivered) this.#failures.forget(delivery.message)
    for (const follower of delivery.dismissFollowers()) follower.owner.repeated(follower)
    this.#onEnded(delivery)
  }

  #onFailed(delivery: Delivery, error: Error): void {
    const { message, channel } = delivery
    diagnose('amqp', 'handlerError', {
      queue: this.#subscription.declaration.queue,
      messageId: message.properties['messageId'],
      error,
    })
    this.failedCount += 1
    this.lastError = error
    if (this.#acknowledgesBefore) this.#onEnded(delivery)
    else if (channel.isOpen) this.#judge(delivery, error)
    else {
      this.#countStaleAck()
      // It failed because it was told to give up, most likely: that says nothing about the message.
      this.#onEnded(delivery)
      readmit(delivery.dismissFollowers())
    }
  }

  #judge(delivery: Delivery, error: Error): void {
    const { message } = delivery
    const { onFailure, maxRequeues } = this.#subscription
    const failures = this.#failures.add(message, delivery.hasFailed || mayBeDuplicate(message))
    const verdict = verdictOn({ message, error, failures }, onFailure, maxRequeues)
    if (verdict !== 'requeue') this.#failures.forget(message)
    delivery.hasFailed = true
    const followers = delivery.dismissFollowers()
    this.#onEnded(delivery)
    this.#apply(delivery, verdict, failures)
    for (const follower of followers) follower.owner.failed(follower, verdict, failures)
  }

  /** It was not handled, and is not to come again. */
  #reject(delivery: Delivery): void {
    const followers = delivery.dismissFollowers()
    this.#apply(delivery, 'reject', 1)
    for (const follower of followers) follower.owner.failed(follower, 'reject', 1)
  }

  #onEnded(delivery: Delivery): void {
    if (delivery.place !== undefined) this.#running.remove(delivery.place)
    if (this.#running.size === 0 && this.#isDraining) {
      for (const resolve of this.#whenIdle) resolve()
      this.#whenIdle = []
      if (this.#isOver) this.#context.memory?.leave(this)
    }
    if (this.#waiting.size > 0) this.#next()
  }

  #apply(delivery: Delivery, verdict: Verdict, failures: number): void {
    const { requeueDelayMs } = this.#subscription
    // A stream keeps its messages: one that was rejected is passed over.
    if (verdict === 'ack' || (verdict === 'reject' && delivery.mark !== undefined)) this.#acknowledge(delivery)
    else if (verdict === 'reject') this.#refuse(delivery, false)
    else if (this.#isDraining || (requeueDelayMs === 0 && delivery.mark === undefined)) this.#giveBack(delivery)
    else {
      const pauseMs = backoffDelay(failures, { initialMs: requeueDelayMs, factor: 2, maxMs: MAX_REQUEUE_DELAY_MS })
      const pause = setTimeout(() => {
        this.#endPause(delivery)
        this.#giveBack(delivery)
      }, pauseMs)
      this.#pauses.set(delivery, pause)
    }
  }

  #acknowledge(delivery: Delivery): void {
    const { channel, raw } = delivery
    const acknowledge = (): void => channel.raw.ack(raw)
    if (this.#subscription.acknowledgesLate !== true) this.#onAcknowledged(delivery, channel.settle(acknowledge))
    else channel.settleLate(acknowledge, (isDone) => this.#onAcknowledged(delivery, isDone))
  }

  #onAcknowledged({ channel, mark, id }: Delivery, isDone: boolean): void {
    if (isDone) {
      this.ackedCount += 1
      if (id !== undefined && this.#context.memory !== undefined) {
        channel.acknowledged ??= new LatestIds(this.#subscription.prefetch)
        channel.acknowledged.add(id)
      }
      if (mark !== undefined) this.#context.position?.finished(mark)
    } else {
      this.#countStaleAck()
    }
  }

  #countStaleAck(): void {
    this.staleAckCount += 1
    this.#context.counters.staleAcks += 1
  }

  #endPause(delivery: Delivery): void {
    clearTimeout(this.#pauses.get(delivery))
    this.#pauses.delete(delivery)
  }

  /** A stream gives no message twice on one subscription, so it is handled again here. */
  #giveBack(delivery: Delivery): void {
    if (delivery.mark === undefined) this.#refuse(delivery, true)
    else if (!this.#isDraining && delivery.channel.isOpen) this.#enqueue(delivery)
  }

  #refuse({ channel, raw }: Delivery, requeue: boolean): void {
    channel.settle(() => channel.raw.nack(raw, false, requeue))
  }
}

function readmit(deliveries: readonly Delivery[]): void {
  for (const delivery of deliveries) delivery.owner.admit(delivery)
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { readonly then?: unknown } | null | undefined)?.then === 'function'
}
