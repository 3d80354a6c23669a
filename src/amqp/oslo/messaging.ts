import { Deadlines } from '../../core/deadlines.js'
import { LONGEST_TIMER_MS, type WaitOptions } from '../../core/time-limit.js'
import { Declarer } from './declarer.js'
import type { RpcEndpoint } from './dispatcher.js'
import type { NotificationEndpoint } from './notification-dispatcher.js'
import {
  ManagedListener,
  type NotificationListener,
  type NotificationListenerOptions,
  type NotificationTarget,
} from './notification-listener.js'
import { Notifier, type NotifierOptions } from './notifier.js'
import type { TransportPort } from './port.js'
import { Replies } from './replies.js'
import { RpcClient, type RpcClientContext, type RpcClientOptions } from './rpc-client.js'
import { ManagedRpcServer, type RpcServer, type RpcServerOptions, type RpcServerTarget } from './rpc-server.js'
import { Sender } from './sender.js'
import type { RpcTarget } from './target.js'

const DEFAULT_START_TIMEOUT_MS = 30_000

/** A server or a listener. */
interface Service {
  /** Resolves when it can be reached. When it failed to start, or ended, it is closed and `onClosed` was called. */
  start(declarer: Declarer, wait: WaitOptions, onClosed: () => void): Promise<void>
  close(options: { readonly timeoutMs?: number }): Promise<void>
  destroy(): void
}

/** RPC and notifications of one transport: what its clients, servers, notifiers and listeners share. @internal */
export class Messaging {
  readonly #port: TransportPort
  readonly #declarer: Declarer
  readonly #sender: Sender
  readonly #services = new Set<Service>()
  #client: RpcClientContext | undefined

  constructor(port: TransportPort) {
    this.#port = port
    this.#declarer = new Declarer(port.onMismatch)
    this.#sender = new Sender(port, this.#declarer)
  }

  /** True while a reply is due: the broker's silence is worth a question then. */
  get isExpecting(): boolean {
    return this.#client?.replies.isExpecting === true
  }

  rpcClient(target: RpcTarget, options: RpcClientOptions): RpcClient {
    this.#port.assertOpen()
    this.#client ??= this.#newClientContext()
    return new RpcClient(this.#client, target, options)
  }

  async rpcServer(
    target: RpcServerTarget,
    endpoints: RpcEndpoint | readonly RpcEndpoint[],
    options: RpcServerOptions,
  ): Promise<RpcServer> {
    this.#port.assertOpen()
    return this.#start(new ManagedRpcServer(this.#port, target, endpoints, options), options)
  }

  notifier(options: NotifierOptions): Notifier {
    this.#port.assertOpen()
    return new Notifier(this.#port, this.#sender, options)
  }

  async notificationListener(
    targets: readonly NotificationTarget[],
    endpoints: NotificationEndpoint | readonly NotificationEndpoint[],
    options: NotificationListenerOptions,
  ): Promise<NotificationListener> {
    this.#port.assertOpen()
    return this.#start(new ManagedListener(this.#port, targets, endpoints, options), options)
  }

  /** There is a new connection for publishing. */
  onServing(): void {
    this.#client?.replies.repeat()
  }

  /** Lets servers and calls finish. It may stay pending: the caller bounds it. */
  async drain(): Promise<void> {
    const services = [...this.#services].map((service) => service.close({ timeoutMs: LONGEST_TIMER_MS }))
    await Promise.all([...services, this.#client?.replies.drain()])
  }

  /** Ends everything now. */
  close(reason: Error): void {
    this.#client?.replies.close(reason)
    for (const service of this.#services) service.destroy()
  }

  async #start<T extends Service>(
    service: T,
    { timeoutMs = DEFAULT_START_TIMEOUT_MS, signal }: WaitOptions,
  ): Promise<T> {
    this.#services.add(service)
    await service.start(this.#declarer, { timeoutMs, signal }, () => this.#services.delete(service))
    return service
  }

  #newClientContext(): RpcClientContext {
    const replies = new Replies(this.#port, this.#declarer)
    // Before the first call, so that it waits for nothing that a fault could make slow.
    replies.prepare()
    return { port: this.#port, sender: this.#sender, replies, deadlines: new Deadlines(), served: new Set() }
  }
}
