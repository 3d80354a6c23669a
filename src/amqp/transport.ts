import { Client } from '../core/client.js'
import { ClosedError, InvalidOptionError, NoEndpointError, toError } from '../core/errors.js'
import { LONGEST_TIMER_MS, type WaitOptions } from '../core/time-limit.js'
import { abortReason } from '../core/timing.js'
import { Administration, DEFAULT_TIMEOUT_MS } from './administration.js'
import type { ConnectionRole } from './connection.js'
import { Connections } from './connections.js'
import { ManagedConsumer, type Consumer } from './consumer.js'
import { newCounters, type Counters } from './counters.js'
import type { Declarations } from './declaration.js'
import type { MessageHandler } from './deliveries.js'
import type { AmqpEvents } from './events.js'
import { HostBook } from './hosts.js'
import { checkSize, checkWait, toLetter, type PublishOptions } from './letter.js'
import type { Liveness } from './liveness.js'
import type { RpcEndpoint } from './oslo/dispatcher.js'
import { Messaging } from './oslo/messaging.js'
import type { NotificationEndpoint } from './oslo/notification-dispatcher.js'
import type {
  NotificationListener,
  NotificationListenerOptions,
  NotificationTarget,
} from './oslo/notification-listener.js'
import type { Notifier, NotifierOptions } from './oslo/notifier.js'
import type { TransportPort } from './oslo/port.js'
import type { RpcClient, RpcClientOptions } from './oslo/rpc-client.js'
import type { RpcServer, RpcServerOptions, RpcServerTarget } from './oslo/rpc-server.js'
import type { RpcTarget } from './oslo/target.js'
import {
  resolveHostList,
  resolveTransportOptions,
  type ResolvedTransportOptions,
  type TransportOptions,
} from './options.js'
import { Outage } from './outage.js'
import { Publisher } from './publisher.js'
import { QueueMemories } from './queue-memory.js'
import type { Session } from './session.js'
import { maxFailoverMs, type TransportStatus } from './status.js'
import { resolveSubscription, type ResolvedSubscription, type Subscription } from './subscription.js'
import { Topology } from './topology.js'
import { watchConnections } from './watching.js'
import type { ChannelOptions, RawChannel } from './with-channel.js'

const NO_OPTIONS: PublishOptions = Object.freeze({})

/**
 * Publishes to a RabbitMQ cluster and consumes from it, and goes on when the node in use crashes, freezes or is cut off.
 *
 * Two connections, one for publishing and one for consuming, to the same host where possible, and a third one that stands
 * by on another host. The client is usable, and `failover` is reported, by the publishing one.
 */
export class AmqpTransport extends Client<AmqpEvents> {
  readonly #options: ResolvedTransportOptions
  readonly #hosts: HostBook
  readonly #topology: Topology
  readonly #counters: Counters = newCounters()
  readonly #consumers = new Set<ManagedConsumer>()
  readonly #memories = new QueueMemories()
  readonly #publisher: Publisher
  readonly #connections: Connections
  readonly #liveness: Liveness
  readonly #administration: Administration
  readonly #messaging: Messaging
  readonly #outage = new Outage()
  #notifications: AmqpTransport | undefined

  /** @internal */
  constructor(options: ResolvedTransportOptions) {
    super('amqp', 'transport')
    this.#options = options
    this.#hosts = new HostBook(options.hosts, options.failoverStrategy, {
      onUp: ({ name }) => this.report('hostUp', { host: name, cause: undefined }),
      onDown: ({ name }, cause) => this.report('hostDown', { host: name, cause }),
      onRefused: (error) => this.report('refused', { host: error.host, vhost: error.vhost, error }),
    })
    this.#topology = new Topology((session, what, error) => this.#onTopologyError(session, what, error))
    this.#publisher = new Publisher({
      maxMessages: options.maxOutboxMessages,
      maxBytes: options.maxOutboxBytes,
      topology: this.#topology,
      counters: this.#counters,
      whyWaiting: () => this.whyUnusable(),
      onServing: (session) => this.#onServing(session),
    })
    this.#connections = new Connections(options, this.#hosts, {
      onUp: (role, session) => this.#onUp(role, session),
      onDown: (role, session, cause) => {
        if (role === 'publisher') this.#onPublisherDown(session, cause)
      },
      onRefused: (role, error) => this.#onRefused(role, error),
      onGivenUp: (error) => this.destroy(error),
    })
    this.#messaging = new Messaging(this.#port())
    this.#administration = new Administration(this.#topology, this.#connections, () => this.whyUnusable())
    const work = { consumers: this.#consumers, publisher: this.#publisher, messaging: this.#messaging }
    this.#liveness = watchConnections(this.#connections, work, options.heartbeatMs)
    this.#liveness.start()
    this.#connections.start()
  }

  /**
   * Publishes a message and resolves when the broker confirmed it: for a quorum queue, when a majority has it.
   *
   * While no host serves it waits. After a lost connection it is sent again under the same message id: delivery is at
   * least once, and order is not kept then. `body` is sent as it is when it is a Buffer (which is not copied: leave it
   * alone until then) or a string, else as JSON. The exchange `''` delivers to the queue named by `routingKey`.
   *
   * Rejects with `UnroutableError` (if `mandatory`), `BackpressureError` when the outbox is full (see `overflow`),
   * `MessageTooLargeError`, the broker's error (reply code in `code`, 404 for an unknown exchange), `TimeoutError` when
   * the limit came before it was sent, and with `PublishOutcomeUnknownError` or `PublishRefusedError` when it came after.
   */
  publish(exchange: string, routingKey: string, body: unknown, options: PublishOptions = NO_OPTIONS): Promise<void> {
    // Not async: the promise of the message itself is handed out, each further one costs as much as the rest.
    try {
      return this.#publish(exchange, routingKey, body, options)
    } catch (error) {
      return Promise.reject(toError(error))
    }
  }

  /**
   * Consumes a queue: declares it with its bindings where it is missing, and calls `handler` for each message, which is
   * acknowledged when the handler's promise resolves, and goes back to the queue when it rejects.
   *
   * Resolves at the first subscription, which then is made again on every connection, until the consumer is closed.
   * Rejects with the broker's error (reply code in `code`, 406 for a queue of another kind), or with `TimeoutError`.
   */
  async consume(subscription: Subscription, handler: MessageHandler, wait: WaitOptions = {}): Promise<Consumer> {
    this.assertOpen()
    checkWait(wait)
    if (typeof handler !== 'function') throw new InvalidOptionError('handler', 'must be a function')
    return this.#consume(resolveSubscription(subscription, this.#options.prefetch), handler, wait)
  }

  /**
   * A client that calls the methods of a topic's servers, in Node or in Python, as oslo.messaging's `RPCClient`.
   *
   * All clients of a transport share one reply queue, which is made with the first of them.
   */
  rpcClient(target: RpcTarget, options: RpcClientOptions = {}): RpcClient {
    return this.#messaging.rpcClient(target, options)
  }

  /**
   * Serves a topic to callers in Node or in Python, as oslo.messaging's `RPCServer`: `endpoints` are objects with
   * methods `(context, args)`, where `args` holds the keyword arguments.
   *
   * Resolves when requests can arrive. What a method throws goes to its caller; a `RemoteError` chooses what a Python
   * caller sees, an `ExpectedError` is not reported as a defect. Rejects with the broker's error, or with `TimeoutError`.
   */
  async rpcServer(
    target: RpcServerTarget,
    endpoints: RpcEndpoint | readonly RpcEndpoint[],
    options: RpcServerOptions = {},
  ): Promise<RpcServer> {
    return this.#messaging.rpcServer(target, endpoints, options)
  }

  /**
   * The transport that carries notifications: this one, or, with `notificationUrl`, one of its own, which is made at the
   * first use and ends with this one. Its `status()` and its events are about the hosts of that URL.
   */
  get notifications(): AmqpTransport {
    const options = this.#options.notifications
    if (options === undefined) return this
    if (this.#notifications === undefined) this.assertOpen()
    this.#notifications ??= new AmqpTransport(options)
    return this.#notifications
  }

  /** Sends notifications, as oslo.messaging's `Notifier`, in the formats of which ceilometer and others understand. */
  notifier(options: NotifierOptions): Notifier {
    return this.notifications.#messaging.notifier(options)
  }

  /**
   * Listens to notifications, of Node or Python services: `endpoints` have methods named after priorities, called with
   * `(context, publisherId, eventType, payload, metadata)`.
   *
   * A notification is acknowledged when every endpoint handled it; it goes back to its queue, a bounded number of times,
   * when one rejects or returns `NotificationResult.REQUEUE`. Rejects with the broker's error, or with `TimeoutError`.
   */
  async notificationListener(
    targets: readonly NotificationTarget[],
    endpoints: NotificationEndpoint | readonly NotificationEndpoint[],
    options: NotificationListenerOptions = {},
  ): Promise<NotificationListener> {
    return this.notifications.#messaging.notificationListener(targets, endpoints, options)
  }

  async #consume(resolved: ResolvedSubscription, handler: MessageHandler, wait: WaitOptions): Promise<Consumer> {
    const consumer = new ManagedConsumer(resolved, handler, {
      topology: this.#topology,
      counters: this.#counters,
      memories: this.#memories,
      session: (signal) => this.#connections.consumer.next(signal),
      standbySession: () => this.#connections.standby.session,
      hasStandby: () => this.#connections.hasStandby,
      spareSession: (signal) => this.#connections.consumer.openSpare(signal),
      onRefused: (session, what, error) => this.#onTopologyError(session, what, error),
      leave: (session, cause) => this.#connections.consumer.leave(session, cause),
      whyWaiting: () => this.whyUnusable(),
      onClosed: (closed) => this.#consumers.delete(closed),
    })
    this.#consumers.add(consumer)
    await consumer.start({ timeoutMs: DEFAULT_TIMEOUT_MS, ...wait })
    return consumer
  }

  /**
   * Declares exchanges, queues and bindings, and declares them again, in the background, after each reconnect.
   *
   * Waits until a host can be reached, for 30 s unless told otherwise. Rejects with the broker's first refusal (reply code
   * in `code`, 406 for an entity that exists with other properties) when everything else has been declared, with
   * `QueueKindError`, or with `TimeoutError`. What it rejected for is not remembered: call it again. Refusals that come
   * with a later reconnect are reported by the event `topologyError`.
   */
  async declare(declarations: Declarations, wait: WaitOptions = {}): Promise<void> {
    this.assertOpen()
    await this.#administration.declare(declarations, wait)
  }

  /**
   * Deletes exchanges and queues, and forgets them and their bindings if they were declared here. One that does not exist
   * is no error.
   */
  async undeclare(
    names: { readonly exchanges?: readonly string[]; readonly queues?: readonly string[] },
    wait: WaitOptions = {},
  ): Promise<void> {
    this.assertOpen()
    await this.#administration.undeclare(names, wait)
  }

  /**
   * Runs `fn` on an amqplib channel of its own, for what this class has no method for; the channel is closed afterwards.
   *
   * It is a channel of the connection that consumes, where an alarm of the broker stops nothing; do not publish on it. With
   * `confirm: true` it is a confirm channel of the connection that publishes. Nothing is repeated or restored: when the
   * connection is lost, amqplib's calls reject. A refused operation ends this channel only, and rejects with the broker's
   * error. Rejects with `TimeoutError` after `timeoutMs` (30 s), `fn` included.
   */
  async withChannel<T, const O extends ChannelOptions>(
    fn: (channel: RawChannel<O>) => Promise<T>,
    options?: O,
  ): Promise<T> {
    this.assertOpen()
    return this.#administration.withChannel(fn, options ?? {})
  }

  /**
   * Changes the host list while the transport runs: same forms as the option `hosts`.
   *
   * A host that stays keeps its connections. Connections to one that is removed move at once: messages that were not
   * confirmed are sent again, and no caller sees an error. Credentials of a new host are those of the first host before.
   * @throws InvalidOptionError for a list that cannot work; nothing has changed then.
   */
  setHosts(hosts: TransportOptions['hosts']): void {
    this.assertOpen()
    this.#hosts.replace(resolveHostList(hosts, this.#hosts.hosts, this.#options.defaultPort))
    this.#connections.reconsider()
  }

  /** What the transport does at present and has done so far: a frozen snapshot without passwords. */
  status(): TransportStatus {
    const { messages, bytes, waiting } = this.#publisher.outbox
    return Object.freeze({
      state: this.state,
      vhost: this.#options.vhost,
      connections: this.#connections.status(),
      hosts: this.#hosts.status(),
      outbox: Object.freeze({ messages, bytes, waiting }),
      counters: Object.freeze({ ...this.#counters }),
      consumers: Object.freeze([...this.#consumers].map((one) => one.status())),
      availability: this.availability(),
      maxFailoverMs: maxFailoverMs(this.#options),
    })
  }

  #publish(exchange: string, routingKey: string, body: unknown, options: PublishOptions): Promise<void> {
    this.assertOpen()
    checkWait(options)
    const { publishTimeoutMs } = this.#options
    const { timeoutMs = publishTimeoutMs, signal, exchangeType, overflow = this.#options.overflow } = options
    if (overflow === 'reject') this.#publisher.assertRoom()
    const letter = toLetter(exchange, routingKey, body, options)
    checkSize(letter.content.length, this.#options)
    if (signal?.aborted === true) throw abortReason(signal)
    if (exchangeType !== undefined && exchange !== '') this.#topology.addExchange(exchange, exchangeType)
    return this.#publisher.publish(letter, { timeoutMs, signal }, overflow === 'wait')
  }

  protected override whyUnusable(): Error {
    const session = this.#connections.publisher.session
    if (session?.blockedReason !== undefined) {
      return new Error(`the broker at ${session.host.name} takes no messages: ${session.blockedReason}`)
    }
    if (session !== undefined) return new Error(`connected to ${session.host.name}`)
    return new NoEndpointError('no AMQP host can be reached', this.#hosts.errors())
  }

  protected override async drain(): Promise<void> {
    await this.#messaging.drain()
    // Handlers first, the outbox after them: what they published before the end still goes out.
    await Promise.all([...this.#consumers].map((consumer) => consumer.close({ timeoutMs: Infinity })))
    await Promise.all([this.#publisher.flush(), this.#notifications?.close({ timeoutMs: LONGEST_TIMER_MS })])
    await this.#connections.finish()
  }

  protected override teardown(reason: ClosedError): void {
    this.#liveness.stop()
    this.#notifications?.destroy(reason)
    this.#publisher.close((mayBeStored) => new ClosedError('transport', reason.cause, !mayBeStored))
    for (const consumer of this.#consumers) consumer.destroy(reason)
    this.#messaging.close(reason)
    this.#connections.close(reason)
  }

  #onUp(role: ConnectionRole, session: Session): void {
    if (role === 'publisher') this.#publisher.attach(session)
    else if (role === 'consumer') this.#administration.onConsumerUp(session)
    else this.#onStandbyUp(session)
    if (role !== 'standby') this.#reportBlocked(role, session)
  }

  #onTopologyError({ host: { name } }: Session, what: string, error: Error): void {
    this.#counters.topologyErrors += 1
    this.report('topologyError', { host: name, what, error })
  }

  #port(): TransportPort {
    return {
      options: this.#options.oslo,
      publishTimeoutMs: this.#options.publishTimeoutMs,
      prefetch: this.#options.prefetch,
      outbox: { maxMessages: this.#options.maxOutboxMessages, maxBytes: this.#options.maxOutboxBytes },
      assertOpen: () => this.assertOpen(),
      publish: async (letter, wait) => {
        checkSize(letter.content.length, this.#options)
        return this.#publisher.publish(letter, wait, this.#options.overflow === 'wait')
      },
      session: (signal) => this.#connections.publisher.next(signal),
      sessionBeside: (session, signal) => this.#connections.consumer.openBeside(session, signal),
      consume: (subscription, handler, wait) => this.#consume(subscription, handler, wait),
      onMismatch: (session, what, error) => this.#onTopologyError(session, what, error),
    }
  }

  #onServing(session: Session): void {
    if (this.#outage.isOn) this.#messaging.onServing()
    const failover = this.#outage.end(session)
    this.setUsable(true)
    if (failover !== undefined) this.reportFailover(failover)
  }

  #onPublisherDown(session: Session, cause: Error): void {
    this.#outage.begin(session, cause)
    this.setUsable(false, cause)
  }

  #onStandbyUp(session: Session): void {
    this.#publisher.prepare(session)
    for (const consumer of this.#consumers) consumer.onStandby()
  }

  #reportBlocked(role: ConnectionRole, session: Session): void {
    const { name: host } = session.host
    const report = (): void => {
      const reason = session.blockedReason
      this.report(reason === undefined ? 'unblocked' : 'blocked', { host, role, reason })
    }
    if (session.blockedReason !== undefined) report()
    session.onBlocked(report)
    session.ending.on(() => {
      if (session.blockedReason !== undefined) this.report('unblocked', { host, role, reason: undefined })
    })
  }

  #onRefused(role: ConnectionRole, error: Error): void {
    if (role === 'publisher') {
      this.failReadiness(error)
      this.#publisher.refuse(error)
    } else if (role === 'consumer') {
      for (const consumer of this.#consumers) consumer.refuse(error)
    }
  }
}

/**
 * Makes a transport: connects by itself, at once, and stays connected until it is closed.
 *
 * Throws `InvalidOptionError` at once for options, or environment variables, that cannot work.
 */
export function createTransport(options?: TransportOptions): AmqpTransport {
  return new AmqpTransport(resolveTransportOptions(options))
}
