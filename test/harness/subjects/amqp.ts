import { type AmqpTransport, createTransport, type TransportOptions } from '../../../src/amqp/index.js'
import type { Outcome } from '../operation.js'
import type { MessagePlace, MessageSubject, ReportedFailover } from '../subject.js'
import { outcomeOf } from './outcome.js'

/** Source address of our own clients, so that a blackhole can be for them alone. */
export const OUR_ADDRESS = '127.0.9.1'

/** The transport of this package with its default options. */
export class OurAmqp implements MessageSubject {
  readonly name: string = 'openstack-ha'
  readonly localAddress: string
  readonly #options: TransportOptions
  readonly #failovers: ReportedFailover[] = []
  #transport: AmqpTransport | undefined
  #place: MessagePlace | undefined
  #isConsuming = false

  constructor(localAddress: string = OUR_ADDRESS, options: TransportOptions = {}) {
    this.localAddress = localAddress
    this.#options = options
  }

  get transport(): AmqpTransport {
    if (this.#transport === undefined) throw new Error('not open yet')
    return this.#transport
  }

  async open(place: MessagePlace): Promise<void> {
    const { localAddress } = this
    this.#place = place
    const order = place.isOrdered ? ({ failoverStrategy: 'round-robin' } as const) : {}
    const standby = !place.isCold
    const transport = createTransport({
      hosts: place.hosts,
      localAddress,
      env: {},
      standby,
      ...order,
      ...this.#options,
    })
    this.#transport = transport
    transport.on('failover', ({ from, to, cause, detectedMs, elapsedMs }) => {
      this.#failovers.push({ from, to, cause, detectedMs, elapsedMs, at: performance.now() })
    })
    await transport.ready()
  }

  async consume(handle: (id: string) => Promise<void>): Promise<void> {
    const { queue, queueType: type } = this.#placed
    this.#isConsuming = true
    await this.transport.consume({ queue, type }, (message) => handle(message.content.toString()))
  }

  async publish(id: string): Promise<void> {
    await this.transport.publish('', this.#placed.queue, Buffer.from(id))
  }

  async close(): Promise<void> {
    await this.#transport?.close({ timeoutMs: 2000 })
  }

  inUse(): string | undefined {
    const { publisher, consumer } = this.transport.status().connections
    return this.#isConsuming ? consumer.host : publisher.host
  }

  failovers(): readonly ReportedFailover[] {
    return this.#failovers
  }

  outcomeOf(error: unknown): Outcome {
    return outcomeOf(error)
  }

  report(): unknown {
    return this.transport.status()
  }

  get #placed(): MessagePlace {
    if (this.#place === undefined) throw new Error('not open yet')
    return this.#place
  }
}

/** For consumers in processes of their own. */
export function messageSubject(): MessageSubject {
  return new OurAmqp()
}
