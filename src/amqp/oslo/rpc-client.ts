import { InvalidOptionError } from '../../core/errors.js'
import type { Deadlines } from '../../core/deadlines.js'
import type { WaitOptions } from '../../core/time-limit.js'
import { abortReason } from '../../core/timing.js'
import type { Letter, Wait } from '../entry.js'
import { UnroutableError } from '../errors.js'
import { checkWait } from '../letter.js'
import { packContext, type RequestContext } from './context.js'
import type { Payload } from './envelope.js'
import { NoServerError, VersionCapError } from './errors.js'
import type { TransportPort } from './port.js'
import { fanoutExchange, newId, topicExchange } from './queues.js'
import type { Replies } from './replies.js'
import { RpcCall } from './rpc-call.js'
import { toLetter, type Outgoing, type Sender } from './sender.js'
import { checkTarget, type RpcTarget } from './target.js'
import { checkVersion, isCompatible } from './version.js'

/** Settings of an RPC client beside its target. */
export interface RpcClientOptions {
  /** Newest version that may be sent, as during an upgrade of the servers. */
  readonly versionCap?: string | undefined
  /** Time limit of a call that gives none. @default the transport's `rpcResponseTimeoutMs` */
  readonly timeoutMs?: number | undefined
  /**
   * Servers show a sign of life at least twice in this time while a call runs, and a call without one ends. Whole
   * seconds, at least 2000.
   */
  readonly callMonitorTimeoutMs?: number | undefined
}

/** How one request is sent. */
export interface RequestOptions extends WaitOptions {
  /**
   * True for a method that may run twice: then a request that was in flight at a failover is sent again, under its id,
   * by which one server process runs it once. Otherwise it is not, and its caller gets `RpcTimeoutError` at its limit.
   * @default false
   */
  readonly idempotent?: boolean
}

const OPTIONS = ['versionCap', 'timeoutMs', 'callMonitorTimeoutMs'] as const
const REQUEST_OPTIONS: readonly string[] = ['timeoutMs', 'signal', 'idempotent']
/** A server that is told nothing of versions serves this one. */
const DEFAULT_VERSION = '1.0'
const MAX_SERVED = 10_000

/** What all RPC clients of a transport share. @internal */
export interface RpcClientContext {
  readonly port: TransportPort
  readonly sender: Sender
  readonly replies: Replies
  readonly deadlines: Deadlines
  /** Topics and servers that took a request before. */
  readonly served: Set<string>
}

/** Calls the methods of servers, in Node or in Python, as oslo.messaging's `RPCClient`. Made by `transport.rpcClient`. */
export class RpcClient {
  readonly #context: RpcClientContext
  readonly #target: RpcTarget
  readonly #options: RpcClientOptions

  /** @internal */
  constructor(context: RpcClientContext, target: RpcTarget, options: RpcClientOptions) {
    checkTarget(target)
    if ((target as Partial<RpcTarget>).topic === undefined) throw new InvalidOptionError('topic', 'is missing')
    checkOptions(options)
    this.#context = context
    this.#target = target
    this.#options = options
  }

  /** A client with another server, version, namespace, exchange or limit; this one stays as it is. */
  prepare(changes: Partial<RpcTarget> & RpcClientOptions): RpcClient {
    checkTarget(changes, OPTIONS)
    const { versionCap, timeoutMs, callMonitorTimeoutMs, ...target } = changes
    return new RpcClient(
      this.#context,
      { ...this.#target, ...target },
      { ...this.#options, ...defined({ versionCap, timeoutMs, callMonitorTimeoutMs }) },
    )
  }

  /** True if the version cap allows this version, by default the target's. */
  canSendVersion(version: string = this.#target.version ?? DEFAULT_VERSION): boolean {
    const { versionCap } = this.#options
    return versionCap === undefined || isCompatible(versionCap, version)
  }

  /**
   * Calls a method and resolves with its result; `args` are its keyword arguments.
   *
   * Rejects with `RemoteError` when the method failed (`UnsupportedVersionError`, `NoSuchMethodError` when it was not
   * found), with `NoServerError` when nobody serves the topic, with `RpcTimeoutError` at the limit, and as `publish`.
   */
  async call(
    context: RequestContext | null,
    method: string,
    args: Readonly<Record<string, unknown>> = {},
    options: RequestOptions = {},
  ): Promise<unknown> {
    const { port, replies, deadlines, served } = this.#context
    this.#check(method, args, options)
    if (this.#target.fanout === true) throw new InvalidOptionError('fanout', 'has no reply: use cast()')
    const { callMonitorTimeoutMs: monitorTimeoutMs } = this.#options
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs ?? port.options.rpcResponseTimeoutMs
    const id = newId()
    const replyFields = {
      _msg_id: id,
      _reply_q: replies.queue,
      _timeout: monitorTimeoutMs === undefined ? null : monitorTimeoutMs / 1000,
    }
    const out = this.#outgoing(context, method, args, options, replyFields, timeoutMs)
    const what = this.#describe(method)
    const call = new RpcCall({
      id,
      what,
      timeoutMs,
      monitorTimeoutMs,
      signal: options.signal,
      deadlines,
      bigIntegers: port.options.bigIntegers,
      send: async (attempt, stop) => {
        const letter = toLetter(out, port, attempt)
        if (!replies.isReady) await replies.ready(letter.content.length, stop)
        await this.#send(out, letter, { timeoutMs: 2 * timeoutMs + 1000, signal: stop })
      },
      isIdempotent: options.idempotent === true,
      wasServed: () => served.has(out.routingKey),
      onServed: () => this.#remember(out.routingKey),
      onEnd: (ended) => replies.remove(ended),
    })
    replies.add(call)
    return call.run()
  }

  /**
   * Asks for a method to be run and resolves when the broker has the request; there is no reply.
   *
   * Rejects with `NoServerError` when nobody serves the topic, and as `publish`.
   */
  async cast(
    context: RequestContext | null,
    method: string,
    args: Readonly<Record<string, unknown>> = {},
    options: RequestOptions = {},
  ): Promise<void> {
    this.#check(method, args, options)
    const out = this.#outgoing(context, method, args, options, {})
    const { timeoutMs = this.#context.port.publishTimeoutMs, signal } = options
    try {
      await this.#send(out, toLetter(out, this.#context.port), { timeoutMs, signal })
    } catch (error) {
      throw error instanceof UnroutableError ? new NoServerError(this.#describe(method), error) : error
    }
  }

  /** {@link RpcClient.cast} to all servers of the topic; also resolves when there is none. */
  async fanout(
    context: RequestContext | null,
    method: string,
    args: Readonly<Record<string, unknown>> = {},
    options: RequestOptions = {},
  ): Promise<void> {
    await this.prepare({ fanout: true, server: undefined }).cast(context, method, args, options)
  }

  async #send(out: Outgoing, letter: Letter, wait: Wait): Promise<void> {
    await this.#context.sender.send(out, wait, letter)
    if (out.mandatory) this.#remember(out.routingKey)
  }

  #remember(routingKey: string): void {
    const { served } = this.#context
    if (served.has(routingKey)) return
    if (served.size >= MAX_SERVED) served.clear()
    served.add(routingKey)
  }

  #check(method: unknown, args: unknown, options: RequestOptions): void {
    this.#context.port.assertOpen()
    checkWait(options)
    for (const name of Object.keys(options)) {
      if (!REQUEST_OPTIONS.includes(name)) throw new InvalidOptionError(name, 'is unknown')
    }
    if (typeof method !== 'string' || method === '') throw new InvalidOptionError('method', 'must be a name')
    if (typeof args !== 'object' || args === null || Array.isArray(args)) {
      throw new InvalidOptionError('args', 'must be an object: arguments are given by name')
    }
    if (options.signal?.aborted === true) throw abortReason(options.signal)
    const version = this.#target.version ?? DEFAULT_VERSION
    if (!this.canSendVersion(version)) throw new VersionCapError(version, this.#options.versionCap as string)
  }

  #outgoing(
    context: RequestContext | null,
    method: string,
    args: Readonly<Record<string, unknown>>,
    { idempotent = false }: RequestOptions,
    replyFields: Payload,
    expirationMs?: number,
  ): Outgoing {
    const { topic, server, fanout, exchange, version, namespace } = this.#target
    const { options } = this.#context.port
    const isFanout = fanout === true
    const id = newId()
    return {
      to: { exchange: isFanout ? fanoutExchange(options, topic) : topicExchange(options, exchange) },
      routingKey: isFanout ? '' : server === undefined ? topic : `${topic}.${server}`,
      // In the order in which oslo.messaging writes them.
      payload: {
        method,
        args,
        ...(namespace === undefined ? {} : { namespace }),
        ...(version === undefined ? {} : { version }),
        ...replyFields,
        _unique_id: id,
        ...packContext(context),
      },
      id,
      mandatory: !isFanout,
      isRepeatable: idempotent,
      expirationMs,
    }
  }

  #describe(method: string): string {
    const { topic, server } = this.#target
    return `method '${method}' of '${server === undefined ? topic : `${topic}.${server}`}'`
  }
}

function checkOptions(options: RpcClientOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !(OPTIONS as readonly string[]).includes(name))
      throw new InvalidOptionError(name, 'is unknown')
  }
  checkWait({ timeoutMs: options.timeoutMs })
  checkVersion('versionCap', options.versionCap)
  const { callMonitorTimeoutMs: monitor } = options
  if (monitor !== undefined && !(monitor >= 2000 && monitor % 1000 === 0)) {
    throw new InvalidOptionError('callMonitorTimeoutMs', 'must be whole seconds of at least 2000')
  }
}

function defined<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>
}
