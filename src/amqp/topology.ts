import { diagnose } from '../core/diagnostics.js'
import type { Channel } from './channel.js'
import { isEntityError } from './classify.js'
import type { Session } from './session.js'

/** Kind of an exchange. */
export type ExchangeType = 'direct' | 'topic' | 'fanout' | 'headers'

/** Routes messages of an exchange to a queue. */
export interface Binding {
  readonly exchange: string
  /** Type of the exchange: it is declared (durable) when given, and has to exist when not. */
  readonly type?: ExchangeType
  /** @default '' */
  readonly routingKey?: string
  /** For exchanges of the type `headers`. */
  readonly arguments?: Readonly<Record<string, unknown>>
}

/** A queue with its bindings, as one consumer wants it. @internal */
export interface QueueDeclaration {
  readonly queue: string
  readonly isDurable: boolean
  /** Ends with the connection that declared it; its consumer declares it on each one. */
  readonly isExclusive: boolean
  readonly isAutoDelete: boolean
  readonly arguments: Readonly<Record<string, unknown>>
  readonly bindings: readonly Binding[]
}

/**
 * What this transport declared, to be declared again where it is missing.
 *
 * After a reconnect nothing waits for it: declaring a binding that exists takes as long as the cluster needs to give up
 * a frozen node (its net_ticktime, 60 s by default), while consuming and publishing work at once.
 * @internal
 */
export class Topology {
  readonly #exchanges = new Map<string, ExchangeType>()
  readonly #queues = new Set<QueueDeclaration>()

  /** Remembers an exchange that publishers declare. */
  addExchange(name: string, type: ExchangeType): void {
    this.#exchanges.set(name, type)
  }

  addQueue(declaration: QueueDeclaration): void {
    this.#queues.add(declaration)
  }

  removeQueue(declaration: QueueDeclaration): void {
    this.#queues.delete(declaration)
  }

  /** Type of an exchange that somebody here declared. */
  exchangeType(name: string): ExchangeType | undefined {
    const own = this.#exchanges.get(name)
    if (own !== undefined) return own
    for (const { bindings } of this.#queues) {
      const type = bindings.find(({ exchange }) => exchange === name)?.type
      if (type !== undefined) return type
    }
    return undefined
  }

  /** True for an exchange that publishers asked to declare. */
  isPublishedTo(name: string): boolean {
    return this.#exchanges.has(name)
  }

  /** Forgets an exchange that publishers asked to declare: the broker has another one by that name. */
  removeExchange(name: string): void {
    this.#exchanges.delete(name)
  }

  /** Declares one exchange, if somebody here said of what type it is. */
  async declareExchange(channel: Channel, name: string): Promise<void> {
    const type = this.exchangeType(name)
    if (type !== undefined) await channel.raw.assertExchange(name, type, { durable: true })
  }

  /** Declares one exchange and everything bound to it: it was gone, and its bindings went with it. */
  async restoreExchange(channel: Channel, name: string): Promise<void> {
    if (this.exchangeType(name) === undefined) return
    await this.declareExchange(channel, name)
    for (const { queue, bindings } of this.#queues) {
      for (const binding of bindings.filter(({ exchange }) => exchange === name)) await bind(channel, queue, binding)
    }
  }

  /** Declares one queue with its exchanges and bindings; rejects with the broker's error of the first that fails. */
  async declareQueue(channel: Channel, declaration: QueueDeclaration): Promise<void> {
    const { queue, bindings } = declaration
    for (const { exchange, type } of bindings) {
      if (type !== undefined) await channel.raw.assertExchange(exchange, type, { durable: true })
    }
    await channel.raw.assertQueue(queue, {
      durable: declaration.isDurable,
      exclusive: declaration.isExclusive,
      autoDelete: declaration.isAutoDelete,
      arguments: { ...declaration.arguments },
    })
    for (const binding of bindings) await bind(channel, queue, binding)
  }

  /** Declares exchanges and bindings again, in the background; one that fails does not stop the others. */
  async restore(session: Session): Promise<void> {
    let channel: Channel | undefined
    for (const [what, declare] of this.#steps()) {
      if (!session.isOpen) return
      try {
        if (channel?.isOpen !== true) channel = await session.openChannel()
        await declare(channel)
      } catch (error) {
        // A queue that is gone is made by its consumer, together with its bindings.
        if (isEntityError(error)) diagnose('amqp', 'topologyError', { host: session.host.name, what, error })
      }
    }
    channel?.dismiss()
  }

  #steps(): readonly (readonly [what: string, declare: (channel: Channel) => Promise<unknown>])[] {
    const queues = [...this.#queues]
    const exchanges = new Map(this.#exchanges)
    for (const { exchange, type } of queues.flatMap(({ bindings }) => bindings)) {
      if (type !== undefined) exchanges.set(exchange, type)
    }
    return [
      ...[...exchanges].map(
        ([name, type]) =>
          [
            `exchange '${name}'`,
            (channel: Channel) => channel.raw.assertExchange(name, type, { durable: true }),
          ] as const,
      ),
      ...queues
        .filter(({ isExclusive }) => !isExclusive)
        .flatMap(({ queue, bindings }) =>
          bindings.map(
            (binding) =>
              [
                `binding of queue '${queue}' to exchange '${binding.exchange}'`,
                (channel: Channel) => bind(channel, queue, binding),
              ] as const,
          ),
        ),
    ]
  }
}

async function bind(channel: Channel, queue: string, binding: Binding): Promise<void> {
  await channel.raw.bindQueue(queue, binding.exchange, binding.routingKey ?? '', { ...binding.arguments })
}
