import type { MessagePlace, MessageSubject } from '../../test/harness/index.js'
import { amqpUrls, CONNECT_TIMEOUT_MS, HEARTBEAT_SECONDS, PREFETCH } from './amqp-settings.js'
import { load } from './load.js'

interface Publisher {
  send(envelope: object, body: Buffer): Promise<void>
}

interface Connection {
  createPublisher(options: object): Publisher
  createConsumer(options: object, handler: (message: { body: Buffer }) => Promise<void>): Emitter
  onConnect(timeoutMs: number): Promise<void>
  on(event: string, listener: () => void): void
  unsafeDestroy(): void
}

interface Emitter {
  on(event: string, listener: () => void): void
}

/** rabbitmq-client over all hosts; a publisher that tries twice. */
export class RabbitmqClient implements MessageSubject {
  readonly name: string = 'rabbitmq-client'
  #connection: Connection | undefined
  #publisher: Publisher | undefined
  #queue = ''

  async open({ hosts, queue }: MessagePlace): Promise<void> {
    const { Connection } = await load<{ Connection: new (options: object) => Connection }>(this.name, 'Connection')
    this.#queue = queue
    const connection = new Connection({
      hosts: amqpUrls(hosts).map((url) => new URL(url).host),
      username: 'guest',
      password: 'guest',
      heartbeat: HEARTBEAT_SECONDS,
      connectionTimeout: CONNECT_TIMEOUT_MS,
    })
    connection.on('error', () => undefined)
    await connection.onConnect(10_000)
    this.#connection = connection
    this.#publisher = connection.createPublisher({ confirm: true, maxAttempts: 2 })
  }

  async consume(handle: (id: string) => Promise<void>): Promise<void> {
    // It would declare the queue as one that is not durable.
    const queueOptions = { passive: true }
    const options = { queue: this.#queue, queueOptions, qos: { prefetchCount: PREFETCH } }
    const consumer = this.#connection?.createConsumer(options, ({ body }) => handle(body.toString()))
    consumer?.on('error', () => undefined)
    await new Promise<void>((resolve) => consumer?.on('ready', () => resolve()))
  }

  async publish(id: string): Promise<void> {
    await this.#publisher?.send({ routingKey: this.#queue, durable: true }, Buffer.from(id))
  }

  close(): Promise<void> {
    this.#connection?.unsafeDestroy()
    return Promise.resolve()
  }
}
