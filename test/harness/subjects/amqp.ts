import { type AmqpTransport, createTransport, type TransportOptions } from '../../../src/amqp/index.js'
import type { Outcome } from '../operation.js'
import type { MessagePlace, MessageSubject, ReportedFailover } from '../subject.js'
import { outcomeOf } from './outcome.js'

/** The transport of this package. Takes the hosts in order, so that the first one can be hit. */
export class OurAmqp implements MessageSubject {
  readonly name: string = 'openstack-ha'
  readonly localAddress: string
  readonly #options: TransportOptions
  #transport: AmqpTransport | undefined
  #queue = ''

  constructor(localAddress: string, options: TransportOptions = {}) {
    this.localAddress = localAddress
    this.#options = options
  }

  get transport(): AmqpTransport {
    if (this.#transport === undefined) throw new Error('not open yet')
    return this.#transport
  }

  async open({ hosts, queue, handle }: MessagePlace): Promise<void> {
    const { localAddress } = this
    this.#queue = queue
    this.#transport = createTransport({
      ...{ hosts, localAddress, failoverStrategy: 'round-robin', env: {} },
      ...this.#options,
    })
    await this.#transport.ready()
    await this.#transport.consume({ queue, type: 'quorum' }, (message) => {
      handle(message.content.toString())
      return Promise.resolve()
    })
  }

  async publish(id: string): Promise<void> {
    await this.transport.publish('', this.#queue, Buffer.from(id))
  }

  async close(): Promise<void> {
    await this.#transport?.close({ timeoutMs: 2000 })
  }

  inUse(): string | undefined {
    return this.transport.status().connections.publisher.host
  }

  failovers(): readonly ReportedFailover[] {
    return this.transport.status().availability.failovers
  }

  outcomeOf(error: unknown): Outcome {
    return outcomeOf(error)
  }

  report(): unknown {
    return this.transport.status()
  }
}
