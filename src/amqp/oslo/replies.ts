import { diagnose } from '../../core/diagnostics.js'
import { toError } from '../../core/errors.js'
import type { Signal } from '../../core/timing.js'
import type { Consumer } from '../consumer.js'
import { BackpressureError } from '../errors.js'
import type { Message } from '../message.js'
import { Waiters } from '../waiters.js'
import type { Declarer } from './declarer.js'
import { decode } from './envelope.js'
import type { TransportPort } from './port.js'
import { replyQueue, type QueueSpec } from './queues.js'
import type { RpcCall } from './rpc-call.js'
import { removeQueue, subscriptionToOwn } from './subscribe.js'

const PREFETCH = 1000
/** One for all: refusals come by the thousand. */
const NOT_CONSUMED = new Error('the queue for replies is not consumed at present')

/**
 * The queue for all replies to this transport, and the calls that wait for them.
 *
 * It is made once, before the first call, and keeps its name: a server may answer to it long after a failover.
 * @internal
 */
export class Replies {
  readonly #port: TransportPort
  readonly #declarer: Declarer
  readonly #queue: QueueSpec
  readonly #calls = new Map<string, RpcCall>()
  #consumer: Promise<Consumer> | undefined
  /** While the queue is consumed. */
  readonly #subscribed = new Waiters<true>()
  /** Requests that wait for that. */
  #heldCount = 0
  #heldBytes = 0
  readonly #whenIdle: (() => void)[] = []

  constructor(port: TransportPort, declarer: Declarer) {
    this.#port = port
    this.#declarer = declarer
    this.#queue = replyQueue(port.options)
  }

  get queue(): string {
    return this.#queue.name
  }

  /** True while a reply is due. */
  get isExpecting(): boolean {
    return this.#calls.size > 0
  }

  /** True when replies can arrive. */
  get isReady(): boolean {
    return this.#subscribed.hasValue
  }

  /** Has the queue made and consumed. A refusal of the broker is tried again by the next who asks. */
  prepare(): void {
    this.#consumer ??= this.#consume()
  }

  /**
   * Resolves when replies can arrive, for a request of so many bytes; rejects with the broker's refusal of the queue, and
   * with `BackpressureError` when as much waits as the outbox may hold.
   */
  async ready(bytes: number, signal: Signal): Promise<void> {
    this.prepare()
    const { maxMessages, maxBytes } = this.#port.outbox
    if (this.#heldCount >= maxMessages || this.#heldBytes + bytes > maxBytes) {
      throw new BackpressureError(this.#heldCount, this.#heldBytes, NOT_CONSUMED)
    }
    this.#heldCount += 1
    this.#heldBytes += bytes
    try {
      await this.#subscribed.next(signal)
    } finally {
      this.#heldCount -= 1
      this.#heldBytes -= bytes
    }
  }

  add(call: RpcCall): void {
    this.#calls.set(call.id, call)
  }

  remove(call: RpcCall): void {
    this.#calls.delete(call.id)
    if (this.#calls.size > 0) return
    for (const resolve of this.#whenIdle.splice(0)) resolve()
  }

  /** There is a new connection: what may have died with the old one is sent again, as soon as replies can arrive. */
  repeat(): void {
    if (!this.isReady) return
    for (const call of this.#calls.values()) call.repeat()
  }

  /** Resolves when no call waits any more, and the queue is gone. */
  async drain(): Promise<void> {
    if (this.#calls.size > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve))
    const consumer = await this.#consumer?.catch(() => undefined)
    if (consumer === undefined) return
    await consumer.close()
    await removeQueue(this.queue, this.#declarer, this.#port)
  }

  /** Nobody will get a reply any more. */
  close(reason: Error): void {
    for (const call of this.#calls.values()) call.fail(reason)
  }

  #consume(): Promise<Consumer> {
    const onSubscribed = (): void => {
      this.#subscribed.resolve(true)
      // Replies that went to the connection before are out of reach until its broker gives that up.
      this.repeat()
    }
    // Until then requests wait, or their replies would go to the connection before, too.
    const onUnsubscribed = (): void => this.#subscribed.clear()
    const subscription = subscriptionToOwn(
      this.#queue,
      this.#declarer,
      { acknowledge: 'before', prefetch: PREFETCH, concurrency: PREFETCH },
      this.#port,
    )
    const accept = (message: Message): void => this.#accept(message)
    const settings = { ...subscription, acknowledgesLate: true, onSubscribed, onUnsubscribed }
    const consuming = this.#port.consume(settings, accept, { timeoutMs: undefined })
    consuming.catch((error: unknown) => {
      this.#consumer = undefined
      this.#subscribed.reject(toError(error))
    })
    return consuming
  }

  /** Never throws: a reply that nobody understands or waits for is gone for good. */
  #accept(message: Message): void {
    try {
      const decoded = decode(message)
      const id = decoded.payload['_msg_id']
      if (typeof id === 'string') this.#calls.get(id)?.accept(decoded)
    } catch (error) {
      diagnose('amqp', 'malformedMessage', { queue: this.queue, error: toError(error) })
    }
  }
}
