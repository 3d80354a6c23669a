import type { Socket } from 'node:net'
import amqplib from 'amqplib'
import { onAbort } from '../core/timing.js'
import type { TransportHost } from './transport-url.js'

/** A message as it arrives. @internal */
export interface DriverMessage {
  readonly content: Buffer
  readonly fields: {
    readonly deliveryTag: number
    readonly redelivered: boolean
    readonly exchange: string
    readonly routingKey: string
  }
  readonly properties: Readonly<Record<string, unknown>>
}

/** What the broker says of a message that it sends back. @internal */
export interface DriverReturn {
  readonly fields: { readonly replyCode?: number; readonly replyText?: string }
  readonly properties: { readonly messageId?: unknown }
}

/** A confirmation. @internal */
export interface DriverConfirm {
  readonly deliveryTag: number
  readonly multiple: boolean
}

/** Properties of a message to publish, by amqplib's names. @internal */
export interface DriverPublishOptions {
  readonly mandatory: boolean
  readonly persistent: boolean
  readonly messageId: string
  readonly headers: Readonly<Record<string, unknown>>
  readonly [property: string]: unknown
}

/** How a queue is declared. @internal */
export interface DriverQueueOptions {
  readonly durable: boolean
  readonly autoDelete?: boolean
  readonly exclusive?: boolean
  readonly arguments: Record<string, unknown>
}

/** The part of amqplib's channel that is used. @internal */
export interface DriverChannel {
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'close' | 'drain', listener: () => void): unknown
  on(event: 'ack' | 'nack', listener: (confirm: DriverConfirm) => void): unknown
  on(event: 'return', listener: (message: DriverReturn) => void): unknown
  close(): Promise<void>
  assertExchange(name: string, type: string, options: { durable: boolean; autoDelete?: boolean }): Promise<unknown>
  checkExchange(name: string): Promise<unknown>
  checkQueue(name: string): Promise<{ readonly messageCount: number }>
  assertQueue(name: string, options: DriverQueueOptions): Promise<unknown>
  deleteQueue(name: string): Promise<unknown>
  bindQueue(queue: string, exchange: string, pattern: string, args: Record<string, unknown>): Promise<unknown>
  prefetch(count: number): Promise<unknown>
  consume(queue: string, onMessage: (message: DriverMessage | null) => void): Promise<{ consumerTag: string }>
  cancel(consumerTag: string): Promise<unknown>
  ack(message: DriverMessage): void
  nack(message: DriverMessage, allUpTo: boolean, requeue: boolean): void
  publish(exchange: string, routingKey: string, content: Buffer, options: DriverPublishOptions): boolean
}

/** One AMQP connection. @internal */
export interface DriverConnection {
  /** The raw TCP socket. */
  readonly socket: Socket
  /** True from the handshake on, if the broker was short of memory or disk already. */
  readonly isBlocked: boolean
  on(event: 'error', listener: (error: Error) => void): void
  on(event: 'close', listener: (error?: Error) => void): void
  on(event: 'blocked', listener: (reason: string) => void): void
  on(event: 'unblocked', listener: () => void): void
  createChannel(): Promise<DriverChannel>
  createConfirmChannel(): Promise<DriverChannel>
  close(): Promise<void>
}

/** Where and how to connect. @internal */
export interface DriverTarget {
  readonly host: TransportHost
  readonly vhost: string
  readonly heartbeatMs: number
  readonly localAddress: string | undefined
  readonly connectionName: string
}

const KEEP_ALIVE_DELAY_MS = 10_000

/**
 * Opens one connection; aborting `signal` ends the handshake.
 *
 * amqplib's own `recovery` is not used: it knows one URL, and a connection that drops can end the process.
 * @internal
 */
export async function openConnection(target: DriverTarget, signal: AbortSignal): Promise<DriverConnection> {
  // A signal of our own, because a socket keeps the signal it was made with, and would die of a later abort.
  const handshake = new AbortController()
  const end = (): void => handshake.abort(signal.reason)
  if (signal.aborted) end()
  const forget = onAbort(signal, end)
  try {
    const model = await amqplib.connect(address(target), {
      ...socketOptions(target),
      signal: handshake.signal,
    } as object)
    return wrap(model as unknown as Model)
  } finally {
    forget()
  }
}

function address({ host, vhost, heartbeatMs }: DriverTarget): object {
  return {
    protocol: 'amqp',
    hostname: host.endpoint.host,
    port: host.endpoint.port,
    username: host.username,
    password: host.password,
    // amqplib decodes it once more, even in an object.
    vhost: encodeURIComponent(vhost),
    heartbeat: heartbeatMs / 1000,
  }
}

function socketOptions({ localAddress, connectionName }: DriverTarget): object {
  return {
    noDelay: true,
    keepAlive: true,
    keepAliveDelay: KEEP_ALIVE_DELAY_MS,
    clientProperties: { connection_name: connectionName },
    ...(localAddress === undefined ? {} : { localAddress }),
  }
}

/** What amqplib has beyond its published types. */
interface Model extends Omit<DriverConnection, 'socket' | 'isBlocked'> {
  readonly connection: { readonly stream: Socket; readonly blocked: boolean }
}

function wrap(model: Model): DriverConnection {
  // At once: an 'error' without a listener ends the process.
  model.on('error', () => undefined)
  return {
    socket: model.connection.stream,
    isBlocked: model.connection.blocked,
    on: (event: 'error' | 'close' | 'blocked' | 'unblocked', listener: (detail: never) => void) =>
      model.on(event as 'error', listener as (error: Error) => void),
    createChannel: () => model.createChannel(),
    createConfirmChannel: () => model.createConfirmChannel(),
    close: () => model.close(),
  }
}
