import { randomUUID } from 'node:crypto'
import { type AmqpTransport, createTransport } from '../src/amqp/index.js'
import { kill, nodes, type Progress, start } from '../test/cluster/index.js'
import { withAmqp } from '../test/harness/amqp-admin.js'
import { table } from './table.js'

/** How long there is no broker, and what is offered meanwhile. */
export interface OutagePlan {
  readonly seconds: number
  readonly perSecond: number
}

/** What an outage did to a process that goes on publishing. */
export interface OutageResult {
  readonly offered: number
  readonly accepted: number
  readonly refused: number
  /** Growth of the resident set, from after a warm-up to its highest, in MiB. */
  readonly grownMiB: number
  /** From the call to its rejection, in milliseconds. */
  readonly refusalP99Ms: number
  readonly refusalWorstMs: number
  /** Accepted, and rejected later. */
  readonly failed: number
  /** Confirmed, and not in the queue afterwards. */
  readonly lost: number
  /** In the queue more than once. */
  readonly copies: number
}

const BODY_BYTES = 1024
const WARM_SECONDS = 10
const TICK_MS = 10
const LIMIT_MS = 900_000
const MIB = 1024 * 1024
const GOAL_MIB = 48
/** Twice the default prefetch of a plain channel that reads everything back. */
const READ_BACK = 1000
const SILENCE_MS = 3000

/** Kills every broker, offers messages all the while, starts the brokers again and looks for what was accepted. */
export async function amqpOutage({ seconds, perSecond }: OutagePlan, progress: Progress): Promise<OutageResult> {
  const queue = `outage-${randomUUID().slice(0, 8)}`
  await withAmqp(1, async (connection) => {
    const channel = await connection.createChannel()
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
  })
  const transport = createTransport({
    env: {},
    hosts: nodes('rabbit').map(({ host }) => host),
    publishTimeoutMs: LIMIT_MS,
  })
  try {
    await transport.ready()
    progress(`warming up for ${WARM_SECONDS} s`)
    const warm = new Load(transport, queue)
    await warm.offer(WARM_SECONDS, perSecond)
    await warm.settled()
    await withAmqp(1, async (connection) => (await connection.createChannel()).purgeQueue(queue))
    await Promise.all(nodes('rabbit').map(({ n }) => kill('rabbit', n)))
    progress(`all brokers killed, for ${seconds} s`)
    const before = process.memoryUsage.rss()
    const load = new Load(transport, queue)
    await load.offer(seconds, perSecond)
    const grownMiB = (load.highestRss - before) / MIB
    progress(`memory grew by ${grownMiB.toFixed(1)} MiB, ${load.accepted} accepted, ${load.refusals.count} refused`)
    await start('rabbit', undefined, { progress })
    await load.settled()
    const found = await readBack(queue)
    const ids = [...found.values()]
    return {
      offered: load.offered,
      accepted: load.accepted,
      refused: load.refusals.count,
      grownMiB,
      refusalP99Ms: load.refusals.percentile(0.99),
      refusalWorstMs: load.refusals.worst,
      failed: load.failed,
      lost: [...load.confirmed].filter((id) => !found.has(id)).length,
      copies: ids.reduce((sum, times) => sum + times - 1, 0),
    }
  } finally {
    await transport.close({ timeoutMs: 5000 }).catch(() => undefined)
    await withAmqp(1, async (connection) => (await connection.createChannel()).deleteQueue(queue))
  }
}

/** Durations in classes, so that counting them takes no memory while memory is measured. */
class Durations {
  /** Classes of 10 us up to 100 ms. */
  readonly #counts = new Uint32Array(10_001)
  count = 0
  worst = 0

  add(ms: number): void {
    const index = Math.min(this.#counts.length - 1, Math.floor(ms * 100))
    this.#counts[index] = (this.#counts[index] ?? 0) + 1
    this.count += 1
    this.worst = Math.max(this.worst, ms)
  }

  percentile(share: number): number {
    let seen = 0
    return (this.#counts.findIndex((count) => (seen += count) >= share * this.count) + 1) / 100
  }
}

/** Messages at a rate, whatever becomes of them. */
class Load {
  readonly refusals = new Durations()
  readonly confirmed = new Set<string>()
  readonly #transport: AmqpTransport
  readonly #queue: string
  offered = 0
  failed = 0
  highestRss = 0
  #pending = 0
  #onSettled: () => void = () => undefined

  constructor(transport: AmqpTransport, queue: string) {
    this.#transport = transport
    this.#queue = queue
  }

  get accepted(): number {
    return this.#pending + this.confirmed.size + this.failed
  }

  async offer(seconds: number, perSecond: number): Promise<void> {
    const startedAt = performance.now()
    const until = startedAt + seconds * 1000
    for (let at = startedAt; at < until; at = performance.now()) {
      const due = Math.floor(((at - startedAt) * perSecond) / 1000)
      // A process that was held up does not make up for all of it at once.
      const most = this.offered + (perSecond * TICK_MS * 10) / 1000
      for (; this.offered < Math.min(due, most); this.offered += 1) {
        void this.#publish(`m-${this.offered}`)
        // A refusal is noticed when its promise is looked at, which is not after hundreds of further calls.
        await microtasks()
      }
      this.highestRss = Math.max(this.highestRss, process.memoryUsage.rss())
      await new Promise((resolve) => setTimeout(resolve, TICK_MS))
    }
  }

  /** Resolves when everything that was accepted has its outcome. */
  async settled(): Promise<void> {
    while (this.#pending > 0) {
      await new Promise<void>((resolve) => {
        this.#onSettled = resolve
      })
    }
  }

  async #publish(messageId: string): Promise<void> {
    const calledAt = performance.now()
    this.#pending += 1
    try {
      // A body of its own for each, as in a service: what is accepted keeps it.
      await this.#transport.publish('', this.#queue, Buffer.alloc(BODY_BYTES, 'x'), { messageId })
      this.confirmed.add(messageId)
    } catch (error) {
      if ((error as { code?: unknown }).code === 'HA_BACKPRESSURE') this.refusals.add(performance.now() - calledAt)
      else this.failed += 1
    }
    this.#pending -= 1
    if (this.#pending === 0) this.#onSettled()
  }
}

/** Lets promises that are settled already be heard. */
async function microtasks(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await Promise.resolve()
}

/** How often each message is in the queue, which is empty afterwards. */
async function readBack(queue: string): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>()
  await withAmqp(1, async (connection) => {
    const channel = await connection.createChannel()
    await channel.prefetch(READ_BACK)
    let lastAt = performance.now()
    await channel.consume(queue, (message) => {
      if (message === null) return
      lastAt = performance.now()
      const id = String(message.properties.messageId)
      found.set(id, (found.get(id) ?? 0) + 1)
      channel.ack(message)
    })
    while (performance.now() - lastAt < SILENCE_MS) await new Promise((resolve) => setTimeout(resolve, TICK_MS))
  })
  return found
}

/** What an outage must not do, in words. */
export function outageProblems(result: OutageResult): readonly string[] {
  const { grownMiB, refusalP99Ms, failed, lost, refused } = result
  return [
    ...(grownMiB < GOAL_MIB ? [] : [`memory grew by ${grownMiB.toFixed(1)} MiB, the goal is < ${GOAL_MIB}`]),
    ...(refusalP99Ms < 1 ? [] : [`99 % of the refusals took up to ${refusalP99Ms.toFixed(2)} ms, the goal is < 1`]),
    ...(refused > 0 ? [] : ['nothing was refused: the outage was too short to fill the outbox']),
    ...(failed === 0 ? [] : [`${failed} accepted messages failed`]),
    ...(lost === 0 ? [] : [`${lost} confirmed messages are not in the queue`]),
  ]
}

export function outageTable(result: OutageResult, { seconds, perSecond }: OutagePlan): string {
  const header = ['offered', 'accepted', 'refused', 'refusal p99 ms', 'worst ms', 'memory MiB', 'failed', 'lost', 'copies'] // prettier-ignore
  const row = [
    String(result.offered),
    String(result.accepted),
    String(result.refused),
    result.refusalP99Ms.toFixed(2),
    result.refusalWorstMs.toFixed(2),
    `+${result.grownMiB.toFixed(1)}`,
    String(result.failed),
    String(result.lost),
    String(result.copies),
  ]
  return `amqp outage, no broker for ${seconds} s, ${perSecond} messages of 1 KiB offered per second, limit 900 s, default outbox\n\n${table(header, [row])}`
}
