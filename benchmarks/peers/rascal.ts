import type { MessagePlace, MessageSubject } from '../../test/harness/index.js'
import { amqpUrls, CONNECT_TIMEOUT_MS, HEARTBEAT_SECONDS, PREFETCH } from './amqp-settings.js'
import { load } from './load.js'

interface Publication {
  on(event: string, listener: (error: Error) => void): Publication
}

interface Subscription {
  on(event: string, listener: (message: unknown, content: unknown, ackOrNack: () => void) => void): Subscription
}

interface Broker {
  publish(name: string, body: Buffer): Promise<Publication>
  subscribe(name: string): Promise<Subscription>
  on(event: string, listener: () => void): void
  shutdown(): Promise<void>
}

interface RascalModule {
  BrokerAsPromised: { create(config: object): Promise<Broker> }
  withDefaultConfig(config: object): object
}

/** rascal over all hosts in the order given. */
export class Rascal implements MessageSubject {
  readonly name: string = 'rascal'
  #broker: Broker | undefined

  async open({ hosts, queue }: MessagePlace): Promise<void> {
    const rascal = await load<RascalModule>(this.name, 'BrokerAsPromised')
    const broker = await rascal.BrokerAsPromised.create(
      rascal.withDefaultConfig({
        vhosts: {
          '/': {
            connectionStrategy: 'fixed',
            connections: amqpUrls(hosts).map((url) => ({
              url,
              options: { heartbeat: HEARTBEAT_SECONDS },
              socketOptions: { timeout: CONNECT_TIMEOUT_MS },
              retry: { min: 100, max: 1000, factor: 2, strategy: 'exponential' },
            })),
            queues: { [queue]: { assert: false, check: false } },
            publications: { out: { queue, confirm: true } },
            subscriptions: { in: { queue, prefetch: PREFETCH } },
          },
        },
      }),
    )
    broker.on('error', () => undefined)
    this.#broker = broker
  }

  async consume(handle: (id: string) => Promise<void>): Promise<void> {
    const subscription = await this.#broker?.subscribe('in')
    subscription
      ?.on('message', (_message, content, ackOrNack) => {
        void handle(Buffer.isBuffer(content) ? content.toString() : String(content)).then(() => ackOrNack())
      })
      .on('error', () => undefined)
      .on('invalid_content', () => undefined)
  }

  async publish(id: string): Promise<void> {
    const publication = await this.#broker?.publish('out', Buffer.from(id))
    await new Promise<void>((resolve, reject) => {
      publication
        ?.on('success', () => resolve())
        .on('error', reject)
        .on('return', () => reject(new Error('returned')))
    })
  }

  async close(): Promise<void> {
    await this.#broker?.shutdown()
  }
}
