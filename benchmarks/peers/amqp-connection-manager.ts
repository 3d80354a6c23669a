import type { MessagePlace, MessageSubject } from '../../test/harness/index.js'
import { amqpUrls, CONNECT_TIMEOUT_MS, HEARTBEAT_SECONDS, PREFETCH } from './amqp-settings.js'
import { load } from './load.js'

interface Channel {
  sendToQueue(queue: string, content: Buffer, options: object): Promise<unknown>
  consume(queue: string, onMessage: (message: { content: Buffer }) => void, options: object): Promise<unknown>
  ack(message: object): void
  on(event: string, listener: () => void): void
  waitForConnect(): Promise<void>
}

interface Manager {
  createChannel(options: object): Channel
  on(event: string, listener: () => void): void
  close(): Promise<void>
}

/** amqp-connection-manager over all hosts; pauses for 1 s before it connects again, where its default is 5 s. */
export class AmqpConnectionManager implements MessageSubject {
  readonly name: string = 'amqp-connection-manager'
  #manager: Manager | undefined
  #channel: Channel | undefined
  #queue = ''

  async open({ hosts, queue }: MessagePlace): Promise<void> {
    const amqp = await load<{ connect(urls: readonly string[], options: object): Manager }>(this.name, 'connect')
    this.#queue = queue
    const manager = amqp.connect(amqpUrls(hosts), {
      heartbeatIntervalInSeconds: HEARTBEAT_SECONDS,
      reconnectTimeInSeconds: 1,
      connectionOptions: { timeout: CONNECT_TIMEOUT_MS, noDelay: true },
    })
    manager.on('connectFailed', () => undefined)
    const channel = manager.createChannel({ confirm: true })
    channel.on('error', () => undefined)
    this.#manager = manager
    this.#channel = channel
    await channel.waitForConnect()
  }

  async consume(handle: (id: string) => Promise<void>): Promise<void> {
    const channel = this.#channel
    const onMessage = (message: { content: Buffer }): void => {
      void handle(message.content.toString())
        .then(() => channel?.ack(message))
        .catch(() => undefined)
    }
    await channel?.consume(this.#queue, onMessage, { prefetch: PREFETCH })
  }

  async publish(id: string): Promise<void> {
    await this.#channel?.sendToQueue(this.#queue, Buffer.from(id), { persistent: true })
  }

  async close(): Promise<void> {
    await this.#manager?.close()
  }
}
