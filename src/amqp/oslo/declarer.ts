import { ConnectionLostError } from '../../core/errors.js'
import type { Channel } from '../channel.js'
import { replyCode } from '../classify.js'
import type { Session } from '../session.js'
import type { ExchangeSpec, QueueSpec } from './queues.js'

/** An exchange or a queue exists with other properties than the options say, and is used as it is. */
export interface DeclarationMismatchEvent {
  /** Such as `queue 'conductor'`. */
  readonly entity: string
  /** The broker's refusal (406), which names what differs. */
  readonly cause: Error
}

/** Told of every mismatch. @internal */
export type OnMismatch = (event: DeclarationMismatchEvent) => void

const PRECONDITION_FAILED = 406

/**
 * Declares exchanges and queues as the options say, and takes those that exist with other properties as they are: a
 * neighbour with other options is no reason to serve nobody.
 * @internal
 */
export class Declarer {
  readonly #onMismatch: OnMismatch
  /** Mismatches that were reported: once each is enough. */
  readonly #reported = new Set<string>()

  constructor(onMismatch: OnMismatch) {
    this.#onMismatch = onMismatch
  }

  async exchange(session: Session, spec: ExchangeSpec): Promise<void> {
    const { name, type, durable, autoDelete } = spec
    await this.#declare(
      session,
      `exchange '${name}'`,
      ({ raw }) => raw.assertExchange(name, type, { durable, autoDelete }),
      ({ raw }) => raw.checkExchange(name),
    )
  }

  async queue(session: Session, spec: QueueSpec): Promise<void> {
    const { name, durable, autoDelete, bindings } = spec
    const exchanges = new Map(bindings.map(({ exchange }) => [exchange.name, exchange]))
    for (const exchange of exchanges.values()) await this.exchange(session, exchange)
    await this.#declare(
      session,
      `queue '${name}'`,
      ({ raw }) => raw.assertQueue(name, { durable, autoDelete, exclusive: false, arguments: { ...spec.arguments } }),
      ({ raw }) => raw.checkQueue(name),
    )
    for (const { exchange, routingKey } of bindings) {
      await onChannel(session, ({ raw }) => raw.bindQueue(name, exchange.name, routingKey, {}))
    }
  }

  async #declare(
    session: Session,
    entity: string,
    declare: (channel: Channel) => Promise<unknown>,
    check: (channel: Channel) => Promise<unknown>,
  ): Promise<void> {
    try {
      await onChannel(session, declare)
    } catch (error) {
      if (replyCode(error) !== PRECONDITION_FAILED) throw error
      // A refusal closes its channel.
      await onChannel(session, check)
      if (this.#reported.has(entity)) return
      this.#reported.add(entity)
      this.#onMismatch({ entity, cause: error as Error })
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
    await Promise.race([request(channel), ended])
  } catch (error) {
    throw channel.ending.value?.error ?? error ?? new ConnectionLostError(session.host.name, 'the channel ended')
  } finally {
    channel.dismiss()
  }
}
