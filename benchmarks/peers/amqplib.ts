import amqplib, { type ChannelModel, type ConfirmChannel, type RecoveringChannelModel } from 'amqplib'
import type { MessagePlace, MessageSubject } from '../../test/harness/index.js'
import { amqpUrls, CONNECT_TIMEOUT_MS, HEARTBEAT_SECONDS, PREFETCH } from './amqp-settings.js'

/** amqplib's own recovery, which knows one host; its set-up hook makes the channel and the consumer again. */
export class AmqplibRecovery implements MessageSubject {
  readonly name: string = 'amqplib recovery'
  #connection: RecoveringChannelModel | undefined
  #channel: ConfirmChannel | undefined
  #queue = ''
  #handle: ((id: string) => Promise<void>) | undefined

  async open({ hosts, queue }: MessagePlace): Promise<void> {
    this.#queue = queue
    const [url = ''] = amqpUrls(hosts, `?heartbeat=${HEARTBEAT_SECONDS}`)
    this.#connection = await amqplib.connect(url, {
      timeout: CONNECT_TIMEOUT_MS,
      noDelay: true,
      recovery: { setup: (model: ChannelModel) => this.#setUp(model) },
    })
    this.#connection.on('error', () => undefined)
  }

  async consume(handle: (id: string) => Promise<void>): Promise<void> {
    this.#handle = handle
    if (this.#channel !== undefined) await this.#subscribe(this.#channel)
  }

  publish(id: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#channel?.sendToQueue(this.#queue, Buffer.from(id), { persistent: true }, (error: Error | null) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  async close(): Promise<void> {
    await this.#connection?.close()
  }

  async #setUp(model: ChannelModel): Promise<void> {
    const channel = await model.createConfirmChannel()
    channel.on('error', () => undefined)
    await channel.prefetch(PREFETCH)
    if (this.#handle !== undefined) await this.#subscribe(channel)
    this.#channel = channel
  }

  async #subscribe(channel: ConfirmChannel): Promise<void> {
    await channel.consume(this.#queue, (message) => {
      if (message === null) return
      // A channel that was closed meanwhile refuses the acknowledgement: the message comes again.
      void this.#handle?.(message.content.toString())
        .then(() => channel.ack(message))
        .catch(() => undefined)
    })
  }
}
