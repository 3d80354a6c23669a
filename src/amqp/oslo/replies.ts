import { diagnose } from '../../core/diagnostics.js'
import { toError } from '../../core/errors.js'
import { Deferred } from '../../core/timing.js'
import type { Consumer } from '../consumer.js'
import type { Message } from '../message.js'
import type { Declarer } from './declarer.js'
import { decode } from './envelope.js'
import type { TransportPort } from './port.js'
import { replyQueue, type QueueSpec } from './queues.js'
import type { RpcCall } from './rpc-call.js'
import { removeQueue, subscriptionToOwn } from './subscribe.js'

const PREFETCH = 1000

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
  /** Resolves when the queue is consumed, and is another one when it no longer is. */
  #subscribed = new Deferred<undefined>()
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
    return this.#subscribed.settled
  }

  /** Resolves when replies can arrive. A refusal of the broker is tried again by the next who asks. */
  async ready(): Promise<void> {
    this.#consumer ??= this.#consume()
    await this.#consumer
    await this.#subscribed.promise
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

  async #consume(): Promise<Consumer> {
    const onSubscribed = (): void => {
      this.#subscribed.resolve(undefined)
      // Replies that went to the connection before are out of reach until its broker gives that up.
      this.repeat()
    }
    // Until then requests wait, or their replies would go to the connection before, too.
    const onUnsubscribed = (): void => {
      this.#subscribed = new Deferred()
    }
    const subscription = subscriptionToOwn(
      this.#queue,
      this.#declarer,
      { acknowledge: 'before', prefetch: PREFETCH, concurrency: PREFETCH },
      this.#port,
    )
    try {
      const accept = (message: Message): void => this.#accept(message)
      const settings = { ...subscription, acknowledgesLate: true, onSubscribed, onUnsubscribed }
      return await this.#port.consume(settings, accept, { timeoutMs: undefined })
    } catch (error) {
      this.#consumer = undefined
      throw error
    }
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
