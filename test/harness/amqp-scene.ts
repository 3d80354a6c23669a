import { randomUUID } from 'node:crypto'
import type { ChannelModel } from 'amqplib'
import { connectAmqp, withAmqp } from './amqp-admin.js'
import { closeAll } from './closing.js'
import { hostList, nextNode, nodeInUse } from './in-use.js'
import { parseOperation } from './operation.js'
import { Recorder } from './recorder.js'
import type { Findings, Oracle, Scene } from './scene.js'
import type { MessageSubject } from './subject.js'
import { sleep, within } from './timing.js'
import type { Load } from './workload.js'

const ORACLE_PAUSE_MS = 2
const ORACLE_LIMIT_MS = 30_000
/** Begins the messages of the oracle, which uses the same queue: each queue has a leader, and an election, of its own. */
const ORACLE_MARK = 'oracle '
/** A broker that has lost a consumer gives its messages to others only after a while. */
const DELIVERY_LIMIT_MS = 20_000
const QUIET_MS = 1500
const QUORUM = { durable: true, arguments: { 'x-queue-type': 'quorum' } } as const

/** How a client of the broker is put to the test. */
export interface AmqpSceneOptions {
  /** @default 16 */
  readonly workers?: number
  readonly allowanceMs?: number
}

/**
 * Numbered messages, confirmed, through a quorum queue whose leader is on the node that is used, to a consumer in the
 * same client.
 */
export class AmqpScene implements Scene {
  readonly kind = 'rabbit'
  readonly subject: MessageSubject
  readonly main: Load
  readonly sides: Scene['sides'] = []
  readonly series: { readonly deliveries: Recorder } = { deliveries: new Recorder() }
  readonly #queue = `run-${randomUUID().slice(0, 13)}`
  readonly #handled = new Map<string, number>()
  #lastDeliveryAt = 0

  constructor(subject: MessageSubject, options: AmqpSceneOptions = {}) {
    this.subject = subject
    const outcomeOf = subject.outcomeOf?.bind(subject)
    this.main = {
      workers: options.workers ?? 16,
      operate: ({ id }) => subject.publish(id),
      ...(outcomeOf === undefined ? {} : { outcomeOf }),
      ...(options.allowanceMs === undefined ? {} : { allowanceMs: options.allowanceMs }),
    }
  }

  async open(): Promise<void> {
    // Asked on the first node, the leader is there.
    await withAmqp(1, async (connection) => {
      const channel = await connection.createChannel()
      await channel.assertQueue(this.#queue, QUORUM)
    })
    const handle = (id: string): void => this.#handle(id)
    await this.subject.open({ hosts: hostList('rabbit'), queue: this.#queue, handle })
  }

  target(): Promise<number> {
    return Promise.resolve(nodeInUse('rabbit', this.subject))
  }

  async oracles(target: number): Promise<readonly Oracle[]> {
    const n = nextNode('rabbit', target)
    const connection = await connectAmqp(n)
    return [
      { ...(await this.#publisher(connection)), name: `publish on node ${n}` },
      { ...(await this.#declarer(connection)), name: `declare on node ${n}` },
    ]
  }

  survey(): Promise<void> {
    return Promise.resolve()
  }

  async verify({ ledger }: Recorder): Promise<Findings> {
    const missing = (): readonly string[] => [...ledger.ids('acknowledged')].filter((id) => !this.#handled.has(id))
    const deadline = performance.now() + DELIVERY_LIMIT_MS
    while (missing().length > 0 && performance.now() < deadline) await sleep(200)
    // Duplicates come after the first copies.
    while (performance.now() - this.#lastDeliveryAt < QUIET_MS && performance.now() < deadline) await sleep(100)
    const undelivered = missing()
    await closeAll([() => this.subject.close()])
    const left = undelivered.length === 0 ? new Set<string>() : await this.#drain()
    const lost = undelivered.filter((id) => !left.has(id))
    const { twice, denied, unknownThere, strangers } = ledger.compare(this.#handled)
    return {
      lost: lost.length,
      twice: twice.length,
      denied: denied.length,
      stale: 0,
      moved: 0,
      wrong: strangers.length,
      notes: { unknownThere, notConsumed: undelivered.length - lost.length, delivered: this.#handled.size },
      examples: [
        ...lost.slice(0, 3).map((id) => `lost ${id}`),
        ...twice.slice(0, 3).map((id) => `handled twice ${id}`),
        ...denied.slice(0, 3).map((id) => `denied ${id}`),
      ],
    }
  }

  async close(): Promise<void> {
    await closeAll([() => this.subject.close(), () => this.#remove()])
  }

  #handle(id: string): void {
    if (id.startsWith(ORACLE_MARK)) return
    this.#lastDeliveryAt = performance.now()
    const count = this.#handled.get(id) ?? 0
    this.#handled.set(id, count + 1)
    const operation = parseOperation(id)
    if (operation !== undefined && count === 0) this.series.deliveries.acknowledge(operation, this.#lastDeliveryAt)
  }

  async #publisher(connection: ChannelModel): Promise<Omit<Oracle, 'name'>> {
    const channel = await connection.createConfirmChannel()
    channel.on('error', () => undefined)
    return {
      workers: 1,
      pauseMs: ORACLE_PAUSE_MS,
      allowanceMs: ORACLE_LIMIT_MS,
      operate: ({ id }) =>
        new Promise((resolve, reject) => {
          channel.sendToQueue(this.#queue, Buffer.from(`${ORACLE_MARK}${id}`), {}, (error: Error | null) => {
            if (error === null) resolve()
            else reject(error)
          })
        }),
      close: () => void connection.close().catch(() => undefined),
    }
  }

  async #declarer(connection: ChannelModel): Promise<Omit<Oracle, 'name'>> {
    const channel = await connection.createChannel()
    channel.on('error', () => undefined)
    return {
      workers: 1,
      pauseMs: 20,
      allowanceMs: ORACLE_LIMIT_MS,
      operate: async () => {
        await channel.assertQueue(this.#queue, QUORUM)
      },
      close: () => undefined,
    }
  }

  /** Everything that is still in the queue, once its consumer is gone. */
  #drain(): Promise<ReadonlySet<string>> {
    return withAmqp(2, async (connection) => {
      const left = new Set<string>()
      let lastAt = performance.now()
      const channel = await connection.createChannel()
      channel.on('error', () => undefined)
      await channel.prefetch(500)
      await channel.consume(this.#queue, (message) => {
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
    return withAmqp(1, async (connection) => {
      const channel = await connection.createChannel()
      await within(5000, 'queue deletion', channel.deleteQueue(this.#queue))
    })
  }
}
