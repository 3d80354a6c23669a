import type { Channel } from '../channel.js'
import { replyCode } from '../classify.js'
import { ask, declareExchange, declareQueue } from '../declare.js'
import type { Session } from '../session.js'
import type { ExchangeSpec, QueueSpec } from './queues.js'

/** Told of an exchange or a queue that exists with other properties than asked for, once for each. @internal */
export type OnMismatch = (session: Session, what: string, error: Error) => void

const PRECONDITION_FAILED = 406
const MAX_REPORTED = 10_000

/**
 * Declares exchanges and queues as the options say, and takes those that exist with other properties as they are: a
 * neighbour with other options is no reason to serve nobody.
 * @internal
 */
export class Declarer {
  readonly #onMismatch: OnMismatch
  readonly #reported = new Set<string>()

  constructor(onMismatch: OnMismatch) {
    this.#onMismatch = onMismatch
  }

  async exchange(session: Session, spec: ExchangeSpec): Promise<void> {
    await this.#declare(
      session,
      `exchange '${spec.name}'`,
      (channel) => declareExchange(channel, spec),
      ({ raw }) => raw.checkExchange(spec.name),
    )
  }

  async queue(session: Session, spec: QueueSpec): Promise<void> {
    const { name, durable, autoDelete, bindings } = spec
    const exchanges = new Map(bindings.map(({ exchange }) => [exchange.name, exchange]))
    for (const exchange of exchanges.values()) await this.exchange(session, exchange)
    await this.#declare(
      session,
      `queue '${name}'`,
      (channel) => declareQueue(channel, name, { durable, autoDelete, arguments: { ...spec.arguments } }),
      ({ raw }) => raw.checkQueue(name),
    )
    for (const { exchange, routingKey } of bindings) {
      await onChannel(session, ({ raw }) => raw.bindQueue(name, exchange.name, routingKey, {}))
    }
  }

  /** Deletes a queue; one that is not there is no error. */
  async deleteQueue(session: Session, name: string): Promise<void> {
    await onChannel(session, ({ raw }) => raw.deleteQueue(name))
  }

  async #declare(
    session: Session,
    what: string,
    declare: (channel: Channel) => Promise<unknown>,
    check: (channel: Channel) => Promise<unknown>,
  ): Promise<void> {
    try {
      await onChannel(session, declare)
    } catch (error) {
      if (replyCode(error) !== PRECONDITION_FAILED) throw error
      // A refusal closes its channel.
      await onChannel(session, check)
      if (this.#reported.has(what) || this.#reported.size >= MAX_REPORTED) return
      this.#reported.add(what)
      this.#onMismatch(session, what, error as Error)
    }
  }
}

/** Runs one request on a channel of its own; rejects with the broker's refusal, and when the connection ends. */
async function onChannel(session: Session, request: (channel: Channel) => Promise<unknown>): Promise<void> {
  const channel = await session.openChannel()
  const ended = new Promise<never>((_, reject) => {
    channel.ending.on(({ error }) => reject(error))
  })
  ended.catch(() => undefined)
  try {
    await Promise.race([
      ask(channel, async () => {
        await request(channel)
      }),
      ended,
    ])
  } finally {
    channel.dismiss()
  }
}
