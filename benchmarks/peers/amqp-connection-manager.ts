import type { MessagePlace, MessageSubject } from '../../test/harness/index.js'
import { amqpUrls, CONNECT_TIMEOUT_MS, HEARTBEAT_SECONDS } from './amqp-settings.js'
import { load } from './load.js'

interface Channel {
  sendToQueue(queue: string, content: Buffer): Promise<unknown>
  consume(queue: string, onMessage: (message: { content: Buffer }) => void, options: object): Promise<unknown>
  ack(message: object): void
  waitForConnect(): Promise<void>
}

interface Manager {
  createChannel(options: object): Channel
  on(event: string, listener: () => void): void
  close(): Promise<void>
}

/** amqp-connection-manager over all hosts. */
export class AmqpConnectionManager implements MessageSubject {
  readonly name: string = 'amqp-connection-manager'
  #manager: Manager | undefined
  #channel: Channel | undefined
  #queue = ''

  async open({ hosts, queue, handle }: MessagePlace): Promise<void> {
    const amqp = await load<{ connect(urls: readonly string[], options: object): Manager }>(this.name, 'connect')
    this.#queue = queue
    const manager = amqp.connect(amqpUrls(hosts), {
      heartbeatIntervalInSeconds: HEARTBEAT_SECONDS,
      reconnectTimeInSeconds: 1,
      connectionOptions: { timeout: CONNECT_TIMEOUT_MS },
    })
    manager.on('connectFailed', () => undefined)
    const channel = manager.createChannel({ confirm: true })
    this.#manager = manager
    this.#channel = channel
    await channel.waitForConnect()
    const onMessage = (message: { content: Buffer }): void => {
      handle(message.content.toString())
      channel.ack(message)
    }
    await channel.consume(queue, onMessage, { prefetch: 64 })
  }

  async publish(id: string): Promise<void> {
    await this.#channel?.sendToQueue(this.#queue, Buffer.from(id))
  }

  async close(): Promise<void> {
    await this.#manager?.close()
  }
}
