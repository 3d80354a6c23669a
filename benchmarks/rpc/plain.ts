import { randomUUID } from 'node:crypto'
import amqplib, { type ChannelModel, type ConfirmChannel, type ConsumeMessage } from 'amqplib'

/** Where an echo is served by hand. */
export interface PlainPlace {
  readonly host: string
  readonly port: number
  /** Node that shall lead the queue for replies: another than the one that is used, as ours has it. */
  readonly repliesOn: { readonly host: string; readonly port: number }
  readonly exchange: string
  readonly topic: string
  readonly isQuorum: boolean
}

/** With the same properties as ours, so that the brokers have the same work. */
const PROPERTIES = { persistent: true, mandatory: true, contentType: 'application/json' } as const
const PREFETCH = 64
const QUORUM = { 'x-queue-type': 'quorum' }

/** Request and reply as one writes them on amqplib: an echo, its caller, and a queue for the replies. */
export class PlainEcho {
  readonly #connections: readonly ChannelModel[]
  readonly #caller: ConfirmChannel
  readonly #place: PlainPlace
  readonly #replyQueue: string
  readonly #waiting = new Map<string, (result: unknown) => void>()
  #calls = 0

  private constructor(
    place: PlainPlace,
    connections: readonly ChannelModel[],
    caller: ConfirmChannel,
    replyQueue: string,
  ) {
    this.#place = place
    this.#connections = connections
    this.#caller = caller
    this.#replyQueue = replyQueue
  }

  static async open(place: PlainPlace): Promise<PlainEcho> {
    const [client, server] = await Promise.all([connect(place), connect(place)])
    await serve(server, place)
    const caller = await client.createConfirmChannel()
    const replyQueue = `reply-${randomUUID()}`
    const beside = await connect(place.repliesOn)
    const declaring = await beside.createChannel()
    await declaring.assertQueue(replyQueue, { durable: true, arguments: { ...QUORUM, 'x-expires': 1_800_000 } })
    await beside.close()
    const echo = new PlainEcho(place, [client, server], caller, replyQueue)
    const replies = await client.createChannel()
    await replies.prefetch(1000)
    await replies.consume(replyQueue, (message) => {
      if (message === null) return
      replies.ack(message)
      echo.#onReply(message)
    })
    return echo
  }

  call(value: unknown): Promise<unknown> {
    return new Promise((resolve) => {
      const correlationId = String((this.#calls += 1))
      this.#waiting.set(correlationId, resolve)
      const { exchange, topic } = this.#place
      const body = Buffer.from(JSON.stringify({ method: 'echo', args: { value } }))
      const properties = { ...PROPERTIES, correlationId, replyTo: this.#replyQueue, expiration: '60000' }
      this.#caller.publish(exchange, topic, body, properties, () => undefined)
    })
  }

  async close(): Promise<void> {
    await this.#caller.deleteQueue(this.#replyQueue)
    await this.#caller.deleteQueue(this.#place.topic)
    for (const connection of this.#connections) await connection.close()
  }

  #onReply({ content, properties }: ConsumeMessage): void {
    const correlationId = String(properties.correlationId)
    const { result } = JSON.parse(content.toString()) as { readonly result: unknown }
    this.#waiting.get(correlationId)?.(result)
    this.#waiting.delete(correlationId)
  }
}

async function connect({ host, port }: Pick<PlainPlace, 'host' | 'port'>): Promise<ChannelModel> {
  const place = { protocol: 'amqp', hostname: host, port, username: 'guest', password: 'guest', heartbeat: 10 }
  const connection = await amqplib.connect(place, { noDelay: true })
  connection.on('error', () => undefined)
  return connection
}

async function serve(connection: ChannelModel, { exchange, topic, isQuorum }: PlainPlace): Promise<void> {
  const replies = await connection.createConfirmChannel()
  const requests = await connection.createChannel()
  await requests.prefetch(PREFETCH)
  await requests.assertExchange(exchange, 'topic', { durable: isQuorum })
  await requests.assertQueue(topic, { durable: isQuorum, arguments: isQuorum ? QUORUM : {} })
  await requests.bindQueue(topic, exchange, topic)
  await requests.consume(topic, (message) => {
    if (message === null) return
    requests.ack(message)
    const { args } = JSON.parse(message.content.toString()) as { readonly args: { readonly value: unknown } }
    const { correlationId, replyTo } = message.properties as unknown as Readonly<Record<string, unknown>>
    const body = Buffer.from(JSON.stringify({ result: args.value }))
    const properties = { ...PROPERTIES, correlationId: String(correlationId) }
    replies.publish('', String(replyTo), body, properties, () => undefined)
  })
}
