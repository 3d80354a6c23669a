import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import type { DriverChannel, DriverConnection, DriverMessage, DriverPublishOptions } from '../../src/amqp/driver.js'
import { Addresses } from '../../src/amqp/addresses.js'
import type { Host } from '../../src/amqp/hosts.js'
import { Session } from '../../src/amqp/session.js'

/** A message that a stub channel was asked to publish. */
export interface Published {
  readonly exchange: string
  readonly routingKey: string
  readonly content: Buffer
  readonly options: DriverPublishOptions
}

const done = (): Promise<unknown> => Promise.resolve({})

/** A channel without a broker: it keeps what it is told, and the test plays the broker by `emit`. */
export class StubChannel extends EventEmitter implements DriverChannel {
  readonly published: Published[] = []
  readonly acked: DriverMessage[] = []
  readonly nacked: { readonly message: DriverMessage; readonly requeue: boolean }[] = []
  closeCount = 0
  onMessage: ((message: DriverMessage | null) => void) | undefined

  readonly assertExchange: () => Promise<unknown> = done
  readonly checkExchange: () => Promise<unknown> = done
  readonly assertQueue: () => Promise<unknown> = done
  readonly bindQueue: () => Promise<unknown> = done
  readonly bindExchange: () => Promise<unknown> = done
  readonly deleteExchange: () => Promise<unknown> = done
  readonly deleteQueue: () => Promise<unknown> = done
  /** The latest limit of messages. */
  prefetched = 0
  readonly cancelled: string[] = []
  prefetch: (count: number) => Promise<unknown> = (count) => {
    this.prefetched = count
    return done()
  }
  /** Messages that the queue says it has. */
  readyCount = 0

  checkQueue: () => Promise<{ readonly messageCount: number }> = () =>
    Promise.resolve({ messageCount: this.readyCount })

  cancel(consumerTag: string): Promise<unknown> {
    this.cancelled.push(consumerTag)
    return done()
  }

  close(): Promise<void> {
    this.closeCount += 1
    return Promise.resolve()
  }

  consume(_queue: string, onMessage: (message: DriverMessage | null) => void): Promise<{ consumerTag: string }> {
    this.onMessage = onMessage
    return Promise.resolve({ consumerTag: 'tag' })
  }

  ack(message: DriverMessage): void {
    this.acked.push(message)
  }

  nack(message: DriverMessage, _allUpTo: boolean, requeue: boolean): void {
    this.nacked.push({ message, requeue })
  }

  publish(exchange: string, routingKey: string, content: Buffer, options: DriverPublishOptions): boolean {
    this.published.push({ exchange, routingKey, content, options })
    return true
  }

  /** The broker closes the channel for an error on it. */
  refuse(code: number, text: string): void {
    this.emit('error', Object.assign(new Error(`Channel closed by server: ${String(code)} "${text}"`), { code }))
    this.emit('close')
  }
}

/** A connection without a server. Its socket is an emitter with the two figures that sessions read. */
export class StubConnection extends EventEmitter implements DriverConnection {
  readonly bytes = { bytesRead: 0, bytesWritten: 0, writableLength: 0 }
  readonly socket: Socket
  readonly traffic: Socket
  readonly isBlocked = false
  readonly channels: StubChannel[] = []
  readonly confirmChannels: StubChannel[] = []
  isCut = false

  constructor() {
    super()
    const destroy = (): void => {
      this.isCut = true
    }
    this.socket = Object.assign(new EventEmitter(), {
      destroyed: false,
      connecting: false,
      destroy,
      cork: () => undefined,
      uncork: () => undefined,
    }) as unknown as Socket
    for (const name of ['bytesRead', 'bytesWritten', 'writableLength'] as const) {
      Object.defineProperty(this.socket, name, { get: () => this.bytes[name] })
    }
    this.traffic = this.socket
  }

  createChannel(): Promise<DriverChannel> {
    return Promise.resolve(this.#add(this.channels))
  }

  createConfirmChannel(): Promise<DriverChannel> {
    return Promise.resolve(this.#add(this.confirmChannels))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #add(list: StubChannel[]): StubChannel {
    const channel = new StubChannel()
    list.push(channel)
    return channel
  }
}

/** A host with the name `name:5672`. */
export function stubHost(name: string): Host {
  const endpoint = { host: name, port: 5672 }
  return { endpoint, username: 'guest', password: 'guest', name: `${name}:5672`, addresses: new Addresses(endpoint) }
}

/** A session on a stub connection. */
export async function stubSession(
  host: Host = stubHost('h1'),
): Promise<{ session: Session; connection: StubConnection }> {
  const connection = new StubConnection()
  const session = new Session(host, connection, 1000)
  await session.openControl()
  return { session, connection }
}

/** A delivery as amqplib hands it over. */
export function stubDelivery(deliveryTag: number, body = 'x', properties: Record<string, unknown> = {}): DriverMessage {
  const fields = { deliveryTag, redelivered: false, exchange: 'e', routingKey: 'k' }
  return { content: Buffer.from(body), fields, properties: { headers: {}, ...properties } }
}

/** The same once more, as the broker delivers it after it came back. */
export function stubRedelivery(
  deliveryTag: number,
  body?: string,
  properties?: Record<string, unknown>,
): DriverMessage {
  const message = stubDelivery(deliveryTag, body, properties)
  return { ...message, fields: { ...message.fields, redelivered: true } }
}

/** Runs until everything that waits for microtasks and immediates has run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setImmediate(resolve))
}
