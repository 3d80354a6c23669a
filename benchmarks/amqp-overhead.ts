import { randomUUID } from 'node:crypto'
import amqplib, { type Channel, type ChannelModel, type ConfirmChannel } from 'amqplib'
import { type AmqpTransport, createTransport } from '../src/amqp/index.js'
import { node } from '../test/cluster/index.js'
import { type Comparison, compareInTurns, compareRounds, type Round } from './in-turns.js'
import type { OverheadPlan } from './overhead.js'
import { table } from './table.js'

/** One line of the table. */
export interface AmqpOverheadResult extends Comparison {
  readonly what: 'publish' | 'consume'
  readonly queue: QueueType
  /** Messages in flight; when consuming, the prefetch. */
  readonly inFlight: number
}

type QueueType = 'classic' | 'quorum'

const BODY = Buffer.alloc(1024, 'x')
const IN_FLIGHT = [1, 64, 256]
const HOST = 1
/** Published messages are dropped beyond this many, so that the brokers' memory does not become what is measured. */
const MAX_LENGTH = 1000
/** Messages of one round of consuming: enough for the client to warm up in, as it would in a service. */
const CONSUMED = 10_000

/** What this package costs at `inFlight`, at least so many times the speed of amqplib. */
export function amqpGoal(inFlight: number): number {
  return inFlight === 1 ? 0.9 : 0.95
}

interface Clients {
  readonly transport: AmqpTransport
  readonly plain: ChannelModel
}

/** `publish` and `consume` of this package against one channel of amqplib, on the same node, which leads the queue. */
export async function amqpOverhead(
  { pairs, roundMs }: OverheadPlan,
  progress: (line: string) => void,
): Promise<readonly AmqpOverheadResult[]> {
  const { host, port } = node('rabbit', HOST)
  const transport = createTransport({ env: {}, hosts: [`${host}:${port}`] })
  const place = { protocol: 'amqp', hostname: host, port, username: 'guest', password: 'guest', heartbeat: 10 }
  const plain = await amqplib.connect(place, { noDelay: true })
  plain.on('error', () => undefined)
  const results: AmqpOverheadResult[] = []
  try {
    await transport.ready()
    for (const queue of ['classic', 'quorum'] as const) {
      for (const inFlight of IN_FLIGHT) {
        progress(`publish, ${queue} queue, ${inFlight} in flight`)
        const published = await withQueue(plain, queue, { 'x-max-length': MAX_LENGTH }, (name) =>
          publishing({ transport, plain }, name, { inFlight, pairs, roundMs }),
        )
        results.push({ what: 'publish', queue, inFlight, ...published })
      }
      for (const inFlight of IN_FLIGHT) {
        progress(`consume, ${queue} queue, prefetch ${inFlight}`)
        const consumed = await withQueue(plain, queue, {}, (name) =>
          consuming({ transport, plain }, name, queue, inFlight, Math.max(5, Math.round(pairs / 3))),
        )
        results.push({ what: 'consume', queue, inFlight, ...consumed })
      }
    }
  } finally {
    await transport.close()
    await plain.close()
  }
  return results
}

async function withQueue<T>(
  plain: ChannelModel,
  type: QueueType,
  args: Record<string, unknown>,
  work: (name: string) => Promise<T>,
): Promise<T> {
  const channel = await plain.createChannel()
  const name = `overhead-${randomUUID().slice(0, 8)}`
  await channel.assertQueue(name, { durable: true, arguments: { 'x-queue-type': type, ...args } })
  try {
    return await work(name)
  } finally {
    await channel.deleteQueue(name)
    await channel.close()
  }
}

async function publishing(
  { transport, plain }: Clients,
  name: string,
  turns: OverheadPlan & { readonly inFlight: number },
): Promise<Comparison> {
  const channel = await plain.createConfirmChannel()
  const ours = { operate: () => transport.publish('', name, BODY) }
  const theirs = { operate: () => publishPlain(channel, name) }
  const comparison = await compareInTurns(ours, theirs, turns)
  await channel.close()
  return comparison
}

/** With the same properties as ours, so that the broker has the same work; but for the message id. */
function publishPlain(channel: ConfirmChannel, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const properties = { persistent: true, mandatory: true, contentType: 'application/octet-stream' }
    channel.publish('', name, BODY, properties, (error: unknown) => {
      if (error === null) resolve()
      else reject(error instanceof Error ? error : new Error('refused'))
    })
  })
}

/** A queue is filled, then emptied by one client: timed from its first message to the acknowledgement of its last. */
async function consuming(
  { transport, plain }: Clients,
  name: string,
  type: QueueType,
  prefetch: number,
  pairs: number,
): Promise<Comparison> {
  const count = prefetch === 1 ? CONSUMED / 20 : CONSUMED
  const filler = await plain.createConfirmChannel()
  const filled = (consume: () => Promise<Round>) => async (): Promise<Round> => {
    for (let i = 0; i < count; i += 1) filler.publish('', name, BODY, { persistent: true })
    await filler.waitForConfirms()
    return consume()
  }
  const ours = filled(() => consumeOurs(transport, name, type, prefetch, count))
  const theirs = filled(() => consumePlain(plain, name, prefetch, count))
  // The compiler learns in these.
  for (let i = 0; i < 3; i += 1) {
    await ours()
    await theirs()
  }
  const comparison = await compareRounds(ours, theirs, { pairs, count })
  await filler.close()
  return comparison
}

async function consumeOurs(
  transport: AmqpTransport,
  queue: string,
  type: QueueType,
  prefetch: number,
  count: number,
): Promise<Round> {
  const stopwatch = new Stopwatch(count)
  const consumer = await transport.consume({ queue, type, prefetch }, () => {
    stopwatch.tick()
    return Promise.resolve()
  })
  const round = await stopwatch.round
  await consumer.close()
  return round
}

async function consumePlain(plain: ChannelModel, queue: string, prefetch: number, count: number): Promise<Round> {
  const stopwatch = new Stopwatch(count)
  const channel: Channel = await plain.createChannel()
  await channel.prefetch(prefetch)
  await channel.consume(queue, (message) => {
    if (message === null) return
    stopwatch.tick()
    channel.ack(message)
  })
  const round = await stopwatch.round
  await channel.close()
  return round
}

/** Runs from the first tick to the last. */
class Stopwatch {
  readonly round: Promise<Round>
  readonly #count: number
  #resolve!: (round: Round) => void
  #ticks = 0
  #startedAt = 0
  #cpu = process.cpuUsage()

  constructor(count: number) {
    this.#count = count
    this.round = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  tick(): void {
    this.#ticks += 1
    if (this.#ticks === 1) {
      this.#startedAt = performance.now()
      this.#cpu = process.cpuUsage()
    } else if (this.#ticks === this.#count) {
      const { user, system } = process.cpuUsage(this.#cpu)
      this.#resolve({ elapsedMs: performance.now() - this.#startedAt, cpuMicroseconds: user + system })
    }
  }
}

export function isReached({ inFlight, ratio }: AmqpOverheadResult): boolean {
  return ratio.median >= amqpGoal(inFlight)
}

export function amqpOverheadTable(results: readonly AmqpOverheadResult[], { pairs, roundMs }: OverheadPlan): string {
  const header = ['what', 'queue', 'in flight', 'ours / plain', 'quartiles', 'by cpu', 'ours per s', 'plain per s', 'ours us', 'plain us', 'goal'] // prettier-ignore
  const rows = results.map((result) => {
    const { what, queue, inFlight, ratio, cpuRatio, first, second } = result
    return [
      what,
      queue,
      String(inFlight),
      ratio.median.toFixed(3),
      `${ratio.low.toFixed(3)}-${ratio.high.toFixed(3)}`,
      cpuRatio.median.toFixed(3),
      String(Math.round(first.perSecond)),
      String(Math.round(second.perSecond)),
      first.cpuMicroseconds.toFixed(1),
      second.cpuMicroseconds.toFixed(1),
      `${amqpGoal(inFlight)} ${isReached(result) ? 'reached' : 'MISSED'}`,
    ]
  })
  const how = `median of ${pairs} pairs of rounds in turn, about ${roundMs} ms each; us and by cpu: processor time per message`
  return `amqp overhead, publish with confirmation and consume with acknowledgement of 1 KiB, against one channel of amqplib on the same node, ${how}\n\n${table(header, rows)}`
}
