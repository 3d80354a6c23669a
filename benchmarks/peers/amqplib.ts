import amqplib, { type ChannelModel, type ConfirmChannel, type RecoveringChannelModel } from 'amqplib'
import type { MessagePlace, MessageSubject } from '../../test/harness/index.js'
import { amqpUrls, CONNECT_TIMEOUT_MS, HEARTBEAT_SECONDS } from './amqp-settings.js'

/** amqplib's own recovery, which knows one host; its set-up hook makes the channel and the consumer again. */
export class AmqplibRecovery implements MessageSubject {
  readonly name: string = 'amqplib recovery'
  #connection: RecoveringChannelModel | undefined
  #channel: ConfirmChannel | undefined
  #queue = ''

  async open({ hosts, queue, handle }: MessagePlace): Promise<void> {
    this.#queue = queue
    const [url = ''] = amqpUrls(hosts, `?heartbeat=${HEARTBEAT_SECONDS}`)
    this.#connection = await amqplib.connect(url, {
      timeout: CONNECT_TIMEOUT_MS,
      recovery: {
        setup: async (model: ChannelModel) => {
          const channel = await model.createConfirmChannel()
          channel.on('error', () => undefined)
          await channel.prefetch(64)
          await channel.consume(queue, (message) => {
            if (message === null) return
            handle(message.content.toString())
            channel.ack(message)
          })
          this.#channel = channel
        },
      },
    })
    this.#connection.on('error', () => undefined)
  }

  publish(id: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#channel?.sendToQueue(this.#queue, Buffer.from(id), {}, (error: Error | null) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  async close(): Promise<void> {
    await this.#connection?.close()
  }
}
