import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { connect, type Socket } from 'node:net'
import amqplib from 'amqplib'
import { cut } from '../core/cut.js'
import { toError } from '../core/errors.js'
import { abortReason, onAbort } from '../core/timing.js'
import type { TlsOptions } from '../core/tls.js'

/** Channels of amqplib, for `withChannel`. */
export type { Channel as AmqplibChannel, ConfirmChannel as AmqplibConfirmChannel } from 'amqplib'

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
  readonly fields: {
    readonly replyCode?: number
    readonly replyText?: string
    readonly exchange: string
    readonly routingKey: string
  }
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
  readonly headers: Readonly<Record<string, unknown>> | undefined
  readonly [property: string]: unknown
}

/** How an exchange is declared, by amqplib's names. @internal */
export interface DriverExchangeOptions {
  readonly durable: boolean
  readonly autoDelete?: boolean
  readonly internal?: boolean
  readonly arguments?: Record<string, unknown>
}

/** How a queue is declared, by amqplib's names. @internal */
export interface DriverQueueOptions {
  readonly durable: boolean
  readonly autoDelete?: boolean
  readonly exclusive?: boolean
  readonly arguments: Record<string, unknown>
}

/** How a queue is consumed. @internal */
export interface DriverConsumeOptions {
  readonly exclusive: boolean
  readonly arguments: Record<string, unknown>
}

/** The part of amqplib's channel that is used. @internal */
export interface DriverChannel {
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'close' | 'drain', listener: () => void): unknown
  on(event: 'ack' | 'nack', listener: (confirm: DriverConfirm) => void): unknown
  on(event: 'return', listener: (message: DriverReturn) => void): unknown
  close(): Promise<void>
  assertExchange(name: string, type: string, options: DriverExchangeOptions): Promise<unknown>
  checkExchange(name: string): Promise<unknown>
  checkQueue(name: string): Promise<{ readonly messageCount: number }>
  assertQueue(name: string, options: DriverQueueOptions): Promise<unknown>
  bindQueue(queue: string, exchange: string, pattern: string, args: Record<string, unknown>): Promise<unknown>
  bindExchange(exchange: string, source: string, pattern: string, args: Record<string, unknown>): Promise<unknown>
  deleteExchange(name: string): Promise<unknown>
  deleteQueue(name: string): Promise<unknown>
  prefetch(count: number): Promise<unknown>
  consume(
    queue: string,
    onMessage: (message: DriverMessage | null) => void,
    options: DriverConsumeOptions,
  ): Promise<{ consumerTag: string }>
  cancel(consumerTag: string): Promise<unknown>
  ack(message: DriverMessage): void
  nack(message: DriverMessage, allUpTo: boolean, requeue: boolean): void
  publish(exchange: string, routingKey: string, content: Buffer, options: DriverPublishOptions): boolean
}

/** One AMQP connection. @internal */
export interface DriverConnection {
  /** The raw TCP socket, also under TLS. */
  readonly socket: Socket
  /** What AMQP's bytes go through: the socket, or the TLS on it. */
  readonly traffic: Pick<Socket, 'bytesRead' | 'bytesWritten' | 'writableLength' | 'cork' | 'uncork'>
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
  /** An address, or a name that Node looks up. */
  readonly address: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly vhost: string
  readonly heartbeatMs: number
  readonly localAddress: string | undefined
  readonly connectionName: string
  /** Undefined for no TLS. */
  readonly tls: TlsOptions | undefined
}

const KEEP_ALIVE_DELAY_MS = 10_000

/**
 * Opens one connection; aborting `signal` ends the handshake, by reset.
 *
 * amqplib's own `recovery` is not used: it knows one URL, and a connection that drops can end the process.
 * @internal
 */
export async function openConnection(target: DriverTarget, signal: AbortSignal): Promise<DriverConnection> {
  if (signal.aborted) throw abortReason(signal)
  const { socket, opening } = begin(target)
  const gone = new Promise<never>((_, reject) => {
    // amqplib does not notice a socket that closes without an error in the middle of its handshake.
    socket.once('close', () => reject(new Error('the connection ended in the middle of the handshake')))
  })
  const forget = onAbort(signal, () => cut(socket, abortReason(signal)))
  opening.catch(() => undefined)
  gone.catch(() => undefined)
  try {
    return wrap((await Promise.race([opening, gone])) as Model, socket)
  } catch (error) {
    cut(socket, toError(error))
    throw error
  } finally {
    forget()
  }
}

/** Starts the handshake, with the raw socket at hand from the first moment: only that can be reset. */
function begin(target: DriverTarget): { readonly socket: Socket; readonly opening: Promise<unknown> } {
  const { tls, address: host, port, localAddress } = target
  if (tls === undefined) {
    const { made: opening, socket } = catchSocket(() => amqplib.connect(address(target), options(target)))
    return { socket, opening }
  }
  const socket = connect({ host, port, ...(localAddress === undefined ? {} : { localAddress }) })
  // The TLS on it reports the socket's errors; it needs a listener of its own all the same.
  socket.on('error', () => undefined)
  const withTls = { ...options(target), ...tls, socket }
  return { socket, opening: amqplib.connect({ ...address(target), protocol: 'amqps' }, withTls as object) }
}

/** amqplib makes its socket itself and shows it only when the handshake is over; Node tells of every socket it makes. */
function catchSocket<T>(make: () => T): { readonly made: T; readonly socket: Socket } {
  const sockets: Socket[] = []
  const listener = (message: unknown): void => {
    sockets.push((message as { socket: Socket }).socket)
  }
  subscribe('net.client.socket', listener)
  try {
    const made = make()
    const socket = sockets.at(0)
    if (socket === undefined) throw new Error('bug: amqplib opened no socket')
    return { made, socket }
  } finally {
    unsubscribe('net.client.socket', listener)
  }
}

function address(target: DriverTarget): object {
  return {
    protocol: 'amqp',
    hostname: target.address,
    port: target.port,
    username: target.username,
    password: target.password,
    // amqplib decodes it once more, even in an object.
    vhost: encodeURIComponent(target.vhost),
    heartbeat: target.heartbeatMs / 1000,
  }
}

function options({ localAddress, connectionName }: DriverTarget): object {
  return {
    noDelay: true,
    keepAlive: true,
    keepAliveDelay: KEEP_ALIVE_DELAY_MS,
    clientProperties: { connection_name: connectionName },
    ...(localAddress === undefined ? {} : { localAddress }),
  }
}

/** What amqplib has beyond its published types. */
interface Model extends Omit<DriverConnection, 'socket' | 'traffic' | 'isBlocked'> {
  readonly connection: { readonly stream: Socket; readonly blocked: boolean }
}

function wrap(model: Model, socket: Socket): DriverConnection {
  // At once: an 'error' without a listener ends the process.
  model.on('error', () => undefined)
  return {
    socket,
    traffic: model.connection.stream,
    isBlocked: model.connection.blocked,
    on: (event: 'error' | 'close' | 'blocked' | 'unblocked', listener: (detail: never) => void) =>
      model.on(event as 'error', listener as (error: Error) => void),
    createChannel: () => model.createChannel(),
    createConfirmChannel: () => model.createConfirmChannel(),
    close: () => model.close(),
  }
}
