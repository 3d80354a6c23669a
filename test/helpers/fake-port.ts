import type { Consumer } from '../../src/amqp/consumer.js'
import type { MessageHandler } from '../../src/amqp/deliveries.js'
import type { Letter } from '../../src/amqp/entry.js'
import { UnroutableError } from '../../src/amqp/errors.js'
import { Message } from '../../src/amqp/message.js'
import { Messaging } from '../../src/amqp/oslo/messaging.js'
import { readOsloOptions, type OsloOptions } from '../../src/amqp/oslo/options.js'
import { OptionReader } from '../../src/core/options.js'

/** Properties and body of a message to be delivered. */
export interface Incoming {
  readonly content: Buffer
  readonly properties: Readonly<Record<string, unknown>>
}

interface Consumed {
  readonly handler: MessageHandler
  readonly refuses: ((message: Message) => boolean) | undefined
  readonly onSubscribed: (() => void) | undefined
  readonly onUnsubscribed: (() => void) | undefined
}

/** A message that would be rejected, and not acknowledged. */
export class RejectedError extends Error {}

/** RPC and notifications without a broker: what is published is kept, and the test delivers. */
export class FakePort {
  readonly messaging: Messaging
  readonly letters: Letter[] = []
  /** How queues are consumed, by their names. */
  readonly #consumed: Map<string, Consumed> = new Map()
  /** Queues to which a reply comes back as unroutable. */
  readonly missing: Set<string> = new Set()
  onPublish: (letter: Letter) => void = () => undefined
  /** May throw what the broker would refuse a consumer with. */
  onConsume: () => void = () => undefined

  constructor(options: OsloOptions = {}) {
    this.messaging = new Messaging({
      options: readOsloOptions(new OptionReader('amqp', { env: {}, ...options })),
      publishTimeoutMs: 1000,
      prefetch: 64,
      outbox: { maxMessages: 3, maxBytes: 100_000 },
      assertOpen: () => undefined,
      publish: (letter) => this.#publish(letter),
      session: () => Promise.resolve(SESSION as never),
      sessionBeside: () => Promise.resolve(undefined),
      consume: async (subscription, handler) => {
        await Promise.resolve()
        this.onConsume()
        const { queue } = subscription.declaration
        const { refuses, onSubscribed, onUnsubscribed } = subscription
        this.#consumed.set(queue, { handler, refuses, onSubscribed, onUnsubscribed })
        onSubscribed?.()
        return new FakeConsumer(queue) as unknown as Consumer
      },
      onMismatch: () => undefined,
    })
  }

  /** The letters whose routing key is this. */
  sentTo(routingKey: string): readonly Letter[] {
    return this.letters.filter((letter) => letter.routingKey === routingKey)
  }

  /**
   * Delivers a message to the consumer of a queue, whose name may be given by its beginning. Throws {@link RejectedError}
   * for one that it refuses.
   */
  deliver(queue: string, { content, properties }: Incoming): unknown {
    const consumed = this.#consumer(queue)
    const fields = { deliveryTag: 1, redelivered: false, exchange: '', routingKey: queue }
    const message = new Message({ content, fields, properties })
    if (consumed.refuses?.(message) === true) throw new RejectedError(`refused by the consumer of '${queue}'`)
    return consumed.handler(message)
  }

  /** The connection that consumes is lost, until `resubscribe`. */
  unsubscribe(queue: string): void {
    this.#consumer(queue).onUnsubscribed?.()
  }

  resubscribe(queue: string): void {
    this.#consumer(queue).onSubscribed?.()
  }

  #consumer(queue: string): Consumed {
    const [, consumed] = [...this.#consumed].find(([name]) => name === queue || name.startsWith(`${queue}_`)) ?? []
    if (consumed === undefined) throw new Error(`nobody consumes '${queue}'`)
    return consumed
  }

  #publish(letter: Letter): Promise<void> {
    this.letters.push(letter)
    this.onPublish(letter)
    if (!this.missing.has(letter.routingKey)) return Promise.resolve()
    return Promise.reject(new UnroutableError('id', letter.exchange, letter.routingKey, 312, 'NO_ROUTE'))
  }
}

class FakeConsumer {
  readonly queue: string

  constructor(queue: string) {
    this.queue = queue
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

const done = (): Promise<unknown> => Promise.resolve({})
const CHANNEL = {
  ending: { on: () => undefined, value: undefined },
  dismiss: () => undefined,
  raw: {
    assertExchange: done,
    assertQueue: done,
    bindQueue: done,
    checkExchange: done,
    checkQueue: done,
    deleteQueue: done,
  },
}
const SESSION = { isOpen: true, host: { name: 'h1:5672' }, openChannel: () => Promise.resolve(CHANNEL) }
