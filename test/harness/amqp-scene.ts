import { randomUUID } from 'node:crypto'
import { node } from '../cluster/address.js'
import { withAmqp } from './amqp-admin.js'
import { type ConsumerProcess, startConsumers } from './amqp-consumers.js'
import { ORACLE_MARK, type OracleQueue, persistentOracle, survivingOracles } from './amqp-oracles.js'
import { closeAll } from './closing.js'
import { Deliveries } from './deliveries.js'
import { Departure } from './departure.js'
import { hostList, nextNode, nodeInUse } from './in-use.js'
import type { Recorder } from './recorder.js'
import type { Findings, Oracle, Scene, Series } from './scene.js'
import { SilentHost } from './silent-host.js'
import type { MessagePlace, MessageSubject } from './subject.js'
import { sleep, within } from './timing.js'
import type { Load } from './workload.js'

/** Of the package, and what issue and contract allow on top; a watch that looks every 100 ms sees it so much later. */
const PUBLISH_LIMIT_MS = 30_000
const ALLOWANCE_MS = PUBLISH_LIMIT_MS + 100 + 100
const CONSUMERS = 2
/** A broker that has lost a consumer gives its messages to others only after a while. */
const DELIVERY_LIMIT_MS = 20_000
const QUIET_MS = 1500
/** What is under way when an idle time begins is done by then. */
const CALM_MS = 1500

/** How a client of the broker is put to the test. */
export interface AmqpSceneOptions {
  /** Module with a function `messageSubject(name)`, for the processes that consume. */
  readonly module: string
  /** Name of the client there. */
  readonly client: string
  /** @default 16 */
  readonly workers?: number
  readonly allowanceMs?: number
  /** A classic queue is on the node that is left when two are down. @default quorum, with its leader on the node in use */
  readonly queueType?: MessagePlace['queueType']
  /** Puts a host behind the first one that accepts connections and says nothing. */
  readonly withSilentHost?: boolean
  /** Without a connection in reserve, where a client can do without: the next host has to be dialled. */
  readonly isCold?: boolean
  /** No traffic from the fault until the client has left the node, at most for so long. */
  readonly idleMs?: number
  /** No node survives: the oracle tries all of them. */
  readonly isTotal?: boolean
  /** Longest time that a message is worked on. @default 0 */
  readonly handlerMs?: number
}

/** Numbered messages, confirmed, through one queue to two processes that consume, on the node that is used. */
export class AmqpScene implements Scene {
  readonly kind = 'rabbit'
  readonly subject: MessageSubject
  readonly main: Load
  readonly sides: Scene['sides'] = []
  readonly series: Readonly<Record<string, Series>>
  readonly #options: AmqpSceneOptions
  readonly #queue: OracleQueue
  readonly #deliveries = new Deliveries(CONSUMERS)
  #consumers: readonly ConsumerProcess[] = []
  #silent: SilentHost | undefined
  #silentBefore = 0
  #target = 0
  #departure: Departure | undefined
  #faultAt = 0
  #gate: Promise<void> = Promise.resolve()
  #earlyErrors = 0
  #connectionsLeft: number | undefined

  constructor(subject: MessageSubject, options: AmqpSceneOptions) {
    this.subject = subject
    this.#options = options
    const { queueType = 'quorum', workers = 16, allowanceMs = ALLOWANCE_MS } = options
    this.#queue = {
      name: `run-${randomUUID().slice(0, 13)}`,
      options: { durable: true, arguments: { 'x-queue-type': queueType } },
    }
    const outcomeOf = subject.outcomeOf?.bind(subject)
    this.main = {
      workers,
      operate: ({ id }) => this.#publish(id),
      allowanceMs,
      ...(outcomeOf === undefined ? {} : { outcomeOf }),
    }
    const each = Array.from({ length: CONSUMERS }, (_, i) => i)
    const deliveries = this.#deliveries
    this.series = {
      deliveries: { gap: (window) => deliveries.gap(window, each) },
      ...Object.fromEntries(
        each.map((i) => [`consumer ${i + 1}`, { gap: (window) => deliveries.gap(window, [i]) } satisfies Series]),
      ),
    }
  }

  async open(): Promise<void> {
    const {
      module,
      client,
      queueType = 'quorum',
      withSilentHost = false,
      isCold = false,
      handlerMs = 0,
    } = this.#options
    const [first = '', ...others] = hostList('rabbit')
    this.#silent = withSilentHost ? await SilentHost.start() : undefined
    const silent = this.#silent === undefined ? [] : [this.#silent.name]
    const hosts = [first, ...silent, ...others]
    const place = { hosts, queue: this.#queue.name, queueType, isOrdered: withSilentHost, isCold }
    await this.subject.open(place)
    this.#target = nodeInUse('rabbit', this.subject)
    // A queue's leader, and a classic queue, is on the node where it is declared.
    await withAmqp(queueType === 'classic' ? nextNode('rabbit', this.#target) : this.#target, async (connection) => {
      const channel = await connection.createChannel()
      await channel.assertQueue(this.#queue.name, this.#queue.options)
    })
    const request = { module, client, place, host: this.#nameOf(this.#target), handlerMs }
    this.#consumers = await startConsumers(CONSUMERS, request, (process, id, at) => {
      if (!id.startsWith(ORACLE_MARK)) this.#deliveries.note(process, id, at)
    })
  }

  target(): Promise<number> {
    return Promise.resolve(nodeInUse('rabbit', this.subject))
  }

  oracles(target: number): Promise<readonly Oracle[]> {
    const { idleMs, isTotal = false } = this.#options
    // Traffic of others is traffic as well: the consumers would be sent it.
    if (idleMs !== undefined) return Promise.resolve([])
    if (isTotal) return Promise.resolve([persistentOracle(this.#queue)])
    return survivingOracles(nextNode('rabbit', target), this.#queue, (id) => {
      if (!id.startsWith(ORACLE_MARK)) this.#deliveries.noteElsewhere(id)
    })
  }

  async survey(moment: 'before' | 'during', target: number): Promise<void> {
    if (moment === 'during') return this.#departure?.stop()
    const { idleMs } = this.#options
    this.#silentBefore = this.#silent?.accepted ?? 0
    const pids = [...(this.subject.pids?.() ?? [process.pid]), ...this.#consumers.map(({ pid }) => pid)]
    let open = (): void => undefined
    if (idleMs !== undefined) {
      this.#gate = new Promise((resolve) => (open = resolve))
      await sleep(CALM_MS)
    }
    this.#departure = new Departure(pids, this.#nameOf(target))
    this.#faultAt = performance.now()
    if (idleMs !== undefined) void this.#openWhenLeft(this.#faultAt + idleMs, open)
  }

  async verify({ ledger }: Recorder): Promise<Findings> {
    const deliveries = this.#deliveries
    this.#connectionsLeft = this.#departure?.left
    const missing = (): readonly string[] => [...ledger.ids('acknowledged')].filter((id) => !deliveries.has(id))
    const deadline = performance.now() + DELIVERY_LIMIT_MS
    while (missing().length > 0 && performance.now() < deadline) await sleep(200)
    // Duplicates come after the first copies.
    while (performance.now() - deliveries.lastAt < QUIET_MS && performance.now() < deadline) await sleep(100)
    await this.#stop()
    const undelivered = missing()
    const left = undelivered.length === 0 ? new Set<string>() : await this.#drain()
    const lost = undelivered.filter((id) => !left.has(id))
    const { most } = deliveries
    const { twice, denied, unknownThere, strangers } = ledger.compare(most)
    return {
      lost: lost.length,
      twice: twice.length,
      denied: denied.length,
      stale: 0,
      moved: 0,
      wrong: strangers.length,
      notes: {
        ...{ unknownThere, notConsumed: undelivered.length - lost.length, delivered: most.size },
        duplicates: deliveries.acrossProcesses,
        ...this.#notes(),
      },
      examples: [
        ...lost.slice(0, 3).map((id) => `lost ${id}`),
        ...twice.slice(0, 3).map((id) => `handled twice ${id}`),
        ...denied.slice(0, 3).map((id) => `denied ${id}`),
      ],
    }
  }

  unhandled(): readonly string[] {
    return this.#consumers.flatMap(({ unhandled }) => unhandled)
  }

  /** What the processes that consume said of themselves. */
  details(): readonly unknown[] {
    return this.#consumers.map(({ report }) => report)
  }

  async close(): Promise<void> {
    this.#departure?.stop()
    this.#silent?.close()
    await this.#stop()
    await closeAll([() => this.#remove()])
  }

  async #publish(id: string): Promise<void> {
    await this.#gate
    const startedAt = performance.now()
    try {
      await this.subject.publish(id)
    } catch (error) {
      if (performance.now() - startedAt < PUBLISH_LIMIT_MS) this.#earlyErrors += 1
      throw error
    }
  }

  async #openWhenLeft(deadline: number, open: () => void): Promise<void> {
    while (this.#departure?.leftAt === undefined && performance.now() < deadline) await sleep(50)
    open()
  }

  #notes(): Readonly<Record<string, number>> {
    const departure = this.#departure
    const reports = this.#consumers.map(({ report }) => report?.failoverCount ?? 0)
    return {
      earlyErrors: this.#earlyErrors,
      consumerFailovers: reports.reduce((sum, count) => sum + count, 0),
      ...(departure === undefined
        ? {}
        : { connections: departure.before, connectionsLeft: this.#connectionsLeft ?? 0 }),
      ...(departure?.leftAt === undefined ? {} : { leftMs: departure.leftAt - this.#faultAt }),
      ...(this.#silent === undefined ? {} : { silentDials: this.#silent.accepted - this.#silentBefore }),
    }
  }

  #nameOf(n: number): string {
    const { host, port } = node('rabbit', n)
    return `${host}:${port}`
  }

  async #stop(): Promise<void> {
    await Promise.all([closeAll([() => this.subject.close()]), ...this.#consumers.map((each) => each.stop())])
  }

  /** Everything that is still in the queue, once its consumers are gone. */
  #drain(): Promise<ReadonlySet<string>> {
    return withAmqp(this.#target, async (connection) => {
      const left = new Set<string>()
      let lastAt = performance.now()
      const channel = await connection.createChannel()
      channel.on('error', () => undefined)
      await channel.prefetch(500)
      await channel.consume(this.#queue.name, (message) => {
        if (message === null) return
        left.add(message.content.toString())
        lastAt = performance.now()
        channel.ack(message)
      })
      const deadline = performance.now() + DELIVERY_LIMIT_MS
      while (performance.now() - lastAt < QUIET_MS && performance.now() < deadline) await sleep(100)
      return left
    })
  }

  #remove(): Promise<void> {
    return withAmqp(this.#target, async (connection) => {
      const channel = await connection.createChannel()
      await within(5000, 'queue deletion', channel.deleteQueue(this.#queue.name))
    })
  }
}
