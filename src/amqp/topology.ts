import { toError } from '../core/errors.js'
import type { Channel } from './channel.js'
import { isQueueGone } from './classify.js'
import type { Arguments, Exchange, ExchangeType, Queue, ResolvedDeclarations, TopologyBinding } from './declaration.js'
import { ask, bind, declareExchange, declareQueue, queueOptions } from './declare.js'
import type { Session } from './session.js'
import { runSteps, type Step } from './steps.js'

export type { ExchangeType } from './declaration.js'

/** Routes messages of an exchange to a queue. */
export interface Binding {
  readonly exchange: string
  /** Type of the exchange: it is declared (durable) when given, and has to exist when not. */
  readonly type?: ExchangeType
  /** @default '' */
  readonly routingKey?: string
  /** For exchanges of the type `headers`. */
  readonly arguments?: Arguments
}

/** A queue with its bindings, as one consumer wants it. @internal */
export interface QueueDeclaration {
  readonly queue: string
  readonly isDurable: boolean
  /** True for a queue that only the connection that declared it may use. */
  readonly isExclusive?: boolean
  readonly isAutoDelete?: boolean
  readonly arguments: Arguments
  readonly bindings: readonly Binding[]
}

/** Told of what the broker refused to declare. @internal */
export type OnRefusedStep = (session: Session, what: string, error: Error) => void

/**
 * What this transport declared, to be declared again where it is missing.
 *
 * After a reconnect nothing waits for it: declaring a binding that exists takes as long as the cluster needs to give up
 * a frozen node (its net_ticktime, 60 s by default), while consuming and publishing work at once. Only a queue that had
 * to be made again gets its bindings with it.
 * @internal
 */
export class Topology {
  readonly #onRefused: OnRefusedStep
  readonly #exchanges = new Map<string, Exchange>()
  readonly #queues = new Map<string, Queue>()
  readonly #bindings = new Map<string, TopologyBinding>()
  /** Exchanges that publishers asked to declare. */
  readonly #published = new Map<string, ExchangeType>()
  /** Queues of consumers. */
  readonly #consumed = new Set<QueueDeclaration>()
  /** Where exclusive queues live. */
  #owner: Session | undefined

  constructor(onRefused: OnRefusedStep = () => undefined) {
    this.#onRefused = onRefused
  }

  /** Remembers what `declare()` declared. */
  add({ exchanges, queues, bindings }: ResolvedDeclarations): void {
    for (const exchange of exchanges) this.#exchanges.set(exchange.name, exchange)
    for (const queue of queues) this.#queues.set(queue.name, queue)
    for (const binding of bindings) this.#bindings.set(bindingKey(binding), binding)
  }

  /** Forgets exchanges and queues, and the bindings from and to them. */
  remove({ exchanges = [], queues = [] }: { exchanges?: readonly string[]; queues?: readonly string[] }): void {
    for (const name of exchanges) this.#exchanges.delete(name)
    for (const name of exchanges) this.#published.delete(name)
    for (const name of queues) this.#queues.delete(name)
    for (const [key, binding] of this.#bindings) {
      const isGone =
        exchanges.includes(binding.exchange) ||
        ('queue' in binding ? queues.includes(binding.queue) : exchanges.includes(binding.toExchange))
      if (isGone) this.#bindings.delete(key)
    }
  }

  /** Remembers an exchange that publishers declare. */
  addExchange(name: string, type: ExchangeType): void {
    this.#published.set(name, type)
  }

  /** Forgets an exchange that publishers asked to declare: the broker has another one by that name. */
  removeExchange(name: string): void {
    this.#published.delete(name)
  }

  addQueue(declaration: QueueDeclaration): void {
    this.#consumed.add(declaration)
  }

  removeQueue(declaration: QueueDeclaration): void {
    this.#consumed.delete(declaration)
  }

  /** Type of an exchange that somebody here declared. */
  exchangeType(name: string): ExchangeType | undefined {
    return this.#exchange(name)?.type
  }

  /** True for an exchange that publishers asked to declare. */
  isPublishedTo(name: string): boolean {
    return this.#published.has(name)
  }

  /** Declares one exchange, if somebody here said of what type it is. */
  async declareExchange(channel: Channel, name: string): Promise<void> {
    const exchange = this.#exchange(name)
    if (exchange !== undefined) await declareExchange(channel, exchange)
  }

  /** Declares the bindings of an exchange that was gone, and they with it; one that fails does not stop the others. */
  async restoreBindings(session: Session, name: string): Promise<void> {
    const remembered = [...this.#bindings.values()].filter(
      (binding) => binding.exchange === name || ('toExchange' in binding && binding.toExchange === name),
    )
    const consumed = [...this.#consumed].map(({ queue, bindings, isExclusive = false }) => {
      const own = bindings.filter(({ exchange: source }) => source === name)
      return { isExclusive, steps: own.map((binding) => bindingStep({ ...binding, queue })) }
    })
    const stepsOf = (exclusive: boolean): readonly Step[] =>
      consumed.flatMap(({ isExclusive, steps }) => (isExclusive === exclusive ? steps : []))
    await Promise.all([
      this.#runOn(session, [...remembered.map(bindingStep), ...stepsOf(false)]),
      // Only its owner's connection may bind an exclusive queue.
      this.#owner === undefined ? undefined : this.#runOn(this.#owner, stepsOf(true)),
    ])
  }

  /** Declares one queue with its exchanges and bindings; rejects with the broker's error of the first that fails. */
  async declareQueue(channel: Channel, declaration: QueueDeclaration): Promise<void> {
    const { queue, bindings, isDurable: durable, isExclusive: exclusive = false } = declaration
    for (const { exchange, type } of bindings) {
      if (type !== undefined) await this.#declareFor(channel, exchange, type)
    }
    const args = { ...declaration.arguments }
    await declareQueue(channel, queue, {
      durable,
      exclusive,
      autoDelete: declaration.isAutoDelete ?? false,
      arguments: args,
    })
    for (const binding of bindings) await bind(channel, { ...binding, queue })
  }

  /** Declares what `declare()` was given; rejects with the first refusal, when everything else has been declared. */
  async declare(session: Session, { exchanges, queues, bindings }: ResolvedDeclarations): Promise<void> {
    const errors: unknown[] = []
    const failed = (_: Step, error: unknown): void => void errors.push(error)
    await runSteps(session, exchanges.map(exchangeStep), failed)
    await runSteps(session, queues.map(queueStep), failed)
    await runSteps(session, bindings.map(bindingStep), failed)
    if (errors.length > 0) throw errors[0]
    if (session.ending.value !== undefined) throw session.ending.value
  }

  /** Declares everything again, in the background, on a new connection of consumers. */
  async restore(session: Session): Promise<void> {
    this.#owner = session
    const failed = (step: Step, error: unknown): void => this.#onRefused(session, step.what, toError(error))
    await runSteps(session, this.#allExchanges().map(exchangeStep), failed)
    await runSteps(
      session,
      [...this.#queues.values()].map((queue) => this.#restoreStep(queue)),
      failed,
    )
    const bindings = [...[...this.#bindings.values()].map(bindingStep), ...this.#consumerSteps()]
    await runSteps(session, bindings, failed)
  }

  /** The session on which exclusive queues are declared. */
  attach(session: Session): void {
    this.#owner = session
  }

  #restoreStep(queue: Queue): Step {
    const { what, run } = queueStep(queue)
    return {
      what,
      run: async (channel) => {
        const session = this.#owner
        try {
          await ask(channel, () => channel.raw.checkQueue(queue.name))
        } catch (error) {
          if (!isQueueGone(error) || session === undefined) throw error
          const fresh = await session.openChannel()
          await run(fresh)
          const own = [...this.#bindings.values()].filter((one) => 'queue' in one && one.queue === queue.name)
          for (const binding of own) await bind(fresh, binding)
          fresh.dismiss()
        }
      },
    }
  }

  async #runOn(session: Session, steps: readonly Step[]): Promise<void> {
    await runSteps(session, steps, ({ what }, error) => this.#onRefused(session, what, toError(error)))
  }

  async #declareFor(channel: Channel, name: string, type: ExchangeType): Promise<void> {
    await declareExchange(channel, this.#exchanges.get(name) ?? { name, type })
  }

  #exchange(name: string): Exchange | undefined {
    const own = this.#exchanges.get(name)
    if (own !== undefined) return own
    const bound = [...this.#consumed]
      .flatMap(({ bindings }) => bindings)
      .find((one) => one.exchange === name && one.type)
    const type = this.#published.get(name) ?? bound?.type
    return type === undefined ? undefined : { name, type }
  }

  #allExchanges(): readonly Exchange[] {
    const bound = [...this.#consumed].flatMap(({ bindings }) => bindings).map(({ exchange }) => exchange)
    const names = new Set([...this.#exchanges.keys(), ...this.#published.keys(), ...bound])
    return [...names].flatMap((name) => this.#exchange(name) ?? [])
  }

  #consumerSteps(): readonly Step[] {
    // An exclusive queue is made by its consumer on each connection.
    const shared = [...this.#consumed].filter(({ isExclusive }) => isExclusive !== true)
    return shared.flatMap(({ queue, bindings }) =>
      bindings.map((binding) => {
        const { what, run } = bindingStep({ ...binding, queue })
        // A queue that is gone is made by its consumer, together with its bindings.
        const unlessGone = (error: unknown): void => {
          if (!isQueueGone(error)) throw error
        }
        return { what, run: (channel: Channel) => run(channel).catch(unlessGone) }
      }),
    )
  }
}

function exchangeStep(exchange: Exchange): Step {
  return { what: `exchange '${exchange.name}'`, run: (channel) => declareExchange(channel, exchange) }
}

function queueStep(queue: Queue): Step {
  return { what: `queue '${queue.name}'`, run: (channel) => declareQueue(channel, queue.name, queueOptions(queue)) }
}

function bindingStep(binding: TopologyBinding): Step {
  const to = 'queue' in binding ? `queue '${binding.queue}'` : `exchange '${binding.toExchange}'`
  return { what: `binding of ${to} to exchange '${binding.exchange}'`, run: (channel) => bind(channel, binding) }
}

function bindingKey(binding: TopologyBinding): string {
  const to = 'queue' in binding ? ['queue', binding.queue] : ['exchange', binding.toExchange]
  return JSON.stringify([...to, binding.exchange, binding.routingKey ?? '', binding.arguments ?? {}])
}
