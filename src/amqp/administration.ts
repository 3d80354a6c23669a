import { TimeoutError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import type { Connections } from './connections.js'
import { resolveDeclarations, type Declarations } from './declaration.js'
import { ask } from './declare.js'
import type { AmqplibConfirmChannel } from './driver.js'
import { checkWait } from './letter.js'
import { onSession } from './on-session.js'
import type { Session } from './session.js'
import type { Topology } from './topology.js'
import { runOnChannel, type ChannelOptions } from './with-channel.js'

/** How long what the caller waits for may take, unless told otherwise. @internal */
export const DEFAULT_TIMEOUT_MS = 30_000
/** Consumers and publishers come first after a reconnect; what was declared has time. */
const RESTORE_DELAY_MS = 250

/** Declares, deletes and lends channels, on the connections of a transport. @internal */
export class Administration {
  readonly #topology: Topology
  readonly #connections: Connections
  readonly #whyWaiting: () => Error
  #hasConsumed = false

  constructor(topology: Topology, connections: Connections, whyWaiting: () => Error) {
    this.#topology = topology
    this.#connections = connections
    this.#whyWaiting = whyWaiting
  }

  async declare(declarations: Declarations, wait: WaitOptions): Promise<void> {
    checkWait(wait)
    const resolved = resolveDeclarations(declarations)
    await this.#onConsumerSession('declare', wait, (session) => this.#topology.declare(session, resolved))
    this.#topology.add(resolved)
  }

  async undeclare(
    names: { readonly exchanges?: readonly string[]; readonly queues?: readonly string[] },
    wait: WaitOptions,
  ): Promise<void> {
    checkWait(wait)
    this.#topology.remove(names)
    await this.#onConsumerSession('undeclare', wait, async (session) => {
      const channel = await session.openChannel()
      for (const name of names.queues ?? []) await ask(channel, () => channel.raw.deleteQueue(name))
      for (const name of names.exchanges ?? []) await ask(channel, () => channel.raw.deleteExchange(name))
      channel.dismiss()
    })
  }

  async withChannel<T>(
    fn: (channel: AmqplibConfirmChannel) => Promise<T>,
    { confirm = false, timeoutMs = DEFAULT_TIMEOUT_MS, signal }: ChannelOptions,
  ): Promise<T> {
    checkWait({ timeoutMs, signal })
    const connection = this.#connections[confirm ? 'publisher' : 'consumer']
    return runOnChannel((ended) => connection.next(ended), fn, { confirm, timeoutMs, signal })
  }

  /** There is another connection that consumes: what was declared may be missing where it is. */
  onConsumerUp(session: Session): void {
    this.#topology.attach(session)
    if (this.#hasConsumed) {
      const timer = setTimeout(() => void this.#topology.restore(session), RESTORE_DELAY_MS).unref()
      session.ending.on(() => clearTimeout(timer))
    }
    this.#hasConsumed = true
  }

  /** On the connection that consumes, where no alarm of the broker stops anything. */
  async #onConsumerSession(what: string, wait: WaitOptions, run: (session: Session) => Promise<void>): Promise<void> {
    const late = (elapsedMs: number): Error => {
      const cause = this.#whyWaiting()
      return new TimeoutError('operation', elapsedMs, `${what}, ${cause.message}`, cause, true)
    }
    const next = (signal: AbortSignal): Promise<Session> => this.#connections.consumer.next(signal)
    await onSession(next, run, { timeoutMs: DEFAULT_TIMEOUT_MS, ...wait }, late)
  }
}
