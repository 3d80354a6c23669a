import { diagnose } from '../../core/diagnostics.js'
import { InvalidOptionError, toError } from '../../core/errors.js'
import { LONGEST_TIMER_MS, type WaitOptions } from '../../core/time-limit.js'
import { sleep } from '../../core/timing.js'
import type { Consumer } from '../consumer.js'
import type { Message } from '../message.js'
import type { ResolvedSubscription } from '../subscription.js'
import type { Declarer } from './declarer.js'
import { Dispatcher, type RpcEndpoint } from './dispatcher.js'
import { decode } from './envelope.js'
import { ExpectedError, UnsafeIntegerError } from './errors.js'
import { writeFailure } from './failure.js'
import { JsonText, writeJson } from './json-writer.js'
import { Limiter } from './limiter.js'
import type { TransportPort } from './port.js'
import { fanoutQueue, isStream, sharedQueue, topicExchange, type QueueSpec } from './queues.js'
import { Readable } from './readable.js'
import { ReplySender } from './reply-sender.js'
import { readRequest, type Request } from './request.js'
import { SeenRequests, type Outcome } from './seen-requests.js'
import { removeQueue, subscriptionTo, subscriptionToOwn } from './subscribe.js'
import { checkTarget } from './target.js'

/** What a server serves, and under which name. */
export interface RpcServerTarget {
  /** What clients call, such as `conductor`. */
  readonly topic: string
  /** The name of this server, for requests to it alone. */
  readonly server: string
  /** @default the transport's `controlExchange` */
  readonly exchange?: string | undefined
  /** Version of the endpoints that have no `target` of their own. @default '1.0' */
  readonly version?: string | undefined
}

/** Settings of an RPC server. */
export interface RpcServerOptions extends WaitOptions {
  /** Most requests that run at a time. @default 64 */
  readonly concurrency?: number
  /**
   * When a request is acknowledged: `before` it runs, as oslo.messaging does, so that a crash loses what was running, or
   * `after`, so that another server runs it again.
   * @default 'before'
   */
  readonly acknowledge?: 'before' | 'after'
}

/** Figures of an RPC server. */
export interface RpcServerStatus {
  readonly topic: string
  readonly server: string
  /** Requests that run now. */
  readonly running: number
  /** Requests that ran, whatever came of them. */
  readonly handled: number
  /** Requests that failed otherwise than by an `ExpectedError`. */
  readonly failed: number
  /** Copies that were not run; they are answered again. */
  readonly duplicates: number
  /** Messages that were no requests; rejected, so that a dead-letter exchange of their queue gets them. */
  readonly malformed: number
}

/** A running server, as `transport.rpcServer` returns it. */
export interface RpcServer {
  /** A frozen snapshot. */
  status(): RpcServerStatus
  /** Takes no more requests, waits for those that run and their replies, for `timeoutMs` (10 s) at most. Never rejects. */
  close(options?: { readonly timeoutMs?: number }): Promise<void>
  /** {@link RpcServer.close} with its defaults, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

const KNOWN = ['concurrency', 'acknowledge', 'timeoutMs', 'signal']
const DEFAULT_CONCURRENCY = 64
const DEFAULT_CLOSE_TIMEOUT_MS = 10_000
const PING = 'oslo_rpc_server_ping'

/** Serves a topic: its own queue, the one that all servers of the topic share, and the one for all of them at once. @internal */
export class ManagedRpcServer implements RpcServer {
  readonly #port: TransportPort
  readonly #target: RpcServerTarget
  readonly #dispatcher: Dispatcher
  readonly #limiter: Limiter
  readonly #acknowledge: 'before' | 'after'
  readonly #replies: ReplySender
  readonly #fanout: QueueSpec
  readonly #requests: Readable<Request>
  readonly #seen = new SeenRequests()
  readonly #stop = new AbortController()
  /** Replies on their way, for requests that were acknowledged before. */
  readonly #background = new Set<Promise<void>>()
  #consumers: readonly Consumer[] = []
  #onClosed: () => Promise<void> = () => Promise.resolve()
  #closing: Promise<void> | undefined
  #handled = 0
  #failed = 0
  #duplicates = 0

  constructor(
    port: TransportPort,
    target: RpcServerTarget,
    endpoints: RpcEndpoint | readonly RpcEndpoint[],
    options: RpcServerOptions,
  ) {
    checkTarget(target)
    for (const name of ['topic', 'server'] as const) {
      if ((target as Partial<RpcServerTarget>)[name] === undefined) throw new InvalidOptionError(name, 'is missing')
    }
    const { concurrency = DEFAULT_CONCURRENCY, acknowledge = 'before' } = checkOptions(options)
    this.#port = port
    this.#target = target
    this.#limiter = new Limiter(concurrency)
    this.#acknowledge = acknowledge
    this.#dispatcher = new Dispatcher(withPing(port, endpoints), target.version)
    this.#replies = new ReplySender(port, this.#stop.signal)
    this.#requests = new Readable(target.topic, (message) => readRequest(decode(message)))
    this.#fanout = fanoutQueue(port.options, target.topic)
  }

  /** Resolves when every queue is consumed. */
  async start(declarer: Declarer, wait: WaitOptions, onClosed: () => void): Promise<void> {
    this.#onClosed = async () => {
      if (!isStream(this.#fanout)) await removeQueue(this.#fanout.name, declarer, this.#port)
      onClosed()
    }
    const subscriptions = this.#subscriptions(declarer)
    const started = await Promise.allSettled(
      subscriptions.map((subscription) => this.#port.consume(subscription, (message) => this.#accept(message), wait)),
    )
    this.#consumers = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    for (const result of started) {
      if (result.status !== 'rejected') continue
      await this.close({ timeoutMs: 0 })
      throw result.reason
    }
  }

  status(): RpcServerStatus {
    return Object.freeze({
      topic: this.#target.topic,
      server: this.#target.server,
      running: this.#limiter.runningCount,
      handled: this.#handled,
      failed: this.#failed,
      duplicates: this.#duplicates,
      malformed: this.#requests.malformedCount,
    })
  }

  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? DEFAULT_CLOSE_TIMEOUT_MS)
    return this.#closing
  }

  /** Ends at once; what runs is left alone. */
  destroy(): void {
    this.#stop.abort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #subscriptions(declarer: Declarer): readonly ResolvedSubscription[] {
    const port = this.#port
    const { options, prefetch } = port
    const { topic, server, exchange } = this.#target
    const from = topicExchange(options, exchange)
    const acknowledge = this.#acknowledge
    const settings = { acknowledge, prefetch, concurrency: prefetch, refuses: this.#requests.refuses }
    return [
      subscriptionTo(sharedQueue(options, from, topic), declarer, settings),
      subscriptionToOwn(sharedQueue(options, from, `${topic}.${server}`), declarer, settings, port),
      isStream(this.#fanout)
        ? subscriptionTo(this.#fanout, declarer, settings)
        : subscriptionToOwn(this.#fanout, declarer, settings, port),
    ]
  }

  async #close(timeoutMs: number): Promise<void> {
    await Promise.all(this.#consumers.map((consumer) => consumer.close({ timeoutMs })))
    const drained = Promise.all(this.#background)
    await Promise.race([drained, sleep(timeoutMs, this.#stop.signal).catch(() => undefined)])
    this.#stop.abort()
    await this.#onClosed()
  }

  /** Never rejects: a request that failed once more would fail again. */
  async #accept(message: Message): Promise<void> {
    const request = this.#requests.of(message)
    const { id, replyTo } = request
    const { outcome, isCopy } =
      id === undefined
        ? { outcome: this.#handle(request), isCopy: false }
        : this.#seen.once(id, () => this.#handle(request))
    if (isCopy) this.#duplicates += 1
    const answer = await outcome
    if (replyTo === undefined || answer === undefined) return
    const sending = this.#replies.send(replyTo.queue, { ...answer.reply, ending: true, _msg_id: replyTo.id })
    if (this.#acknowledge === 'after') {
      await sending
      return
    }
    this.#background.add(sending)
    void sending.finally(() => this.#background.delete(sending))
  }

  async #handle(request: Request): Promise<Outcome> {
    const stopHeartbeat = this.#heartbeat(request)
    try {
      return await this.#limiter.run(() => this.#run(request))
    } finally {
      stopHeartbeat()
    }
  }

  async #run(request: Request): Promise<Outcome> {
    try {
      const method = this.#dispatcher.find(request)
      const { unsafeInteger } = request
      if (unsafeInteger !== undefined && !this.#port.options.bigIntegers) throw new UnsafeIntegerError(unsafeInteger)
      const text = writeJson((await method(request.context, request.args)) ?? null)
      return { reply: { result: new JsonText(text), failure: null }, bytes: text.length }
    } catch (error) {
      const failure = this.#fail(request, error)
      return { reply: { result: null, failure }, bytes: failure.length }
    } finally {
      this.#handled += 1
    }
  }

  #fail({ method }: Request, thrown: unknown): string {
    if (thrown instanceof ExpectedError) return writeFailure(thrown.cause)
    this.#failed += 1
    diagnose('amqp', 'requestFailed', { topic: this.#target.topic, method, error: toError(thrown) })
    return writeFailure(thrown)
  }

  /** Signs of life for a caller that monitors its call; one that does not would choke on them. */
  #heartbeat({ replyTo, monitorSeconds }: Request): () => void {
    if (replyTo === undefined || monitorSeconds === undefined || monitorSeconds < 2) return () => undefined
    const beat = { result: null, failure: null, ending: false, _msg_id: replyTo.id }
    const timer = setInterval(
      () => void this.#replies.send(replyTo.queue, beat),
      Math.min((monitorSeconds * 1000) / 2, LONGEST_TIMER_MS),
    )
    return () => clearInterval(timer)
  }
}

function withPing(
  port: TransportPort,
  endpoints: RpcEndpoint | readonly RpcEndpoint[],
): RpcEndpoint | readonly RpcEndpoint[] {
  if (!port.options.rpcPingEnabled) return endpoints
  const list = (Array.isArray(endpoints) ? endpoints : [endpoints]) as readonly RpcEndpoint[]
  return [...list, { target: {}, [PING]: () => 'pong' }]
}

function checkOptions(options: RpcServerOptions): RpcServerOptions {
  for (const name of Object.keys(options)) {
    if (!KNOWN.includes(name)) throw new InvalidOptionError(name, 'is unknown')
  }
  const { concurrency, acknowledge } = options
  if (concurrency !== undefined && !(Number.isSafeInteger(concurrency) && concurrency >= 1)) {
    throw new InvalidOptionError('concurrency', 'must be a whole number of at least 1')
  }
  if (acknowledge !== undefined && !['before', 'after'].includes(acknowledge)) {
    throw new InvalidOptionError('acknowledge', "must be 'before' or 'after'")
  }
  return options
}
