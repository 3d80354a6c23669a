import { randomUUID } from 'node:crypto'
import { createTransport } from '../../src/amqp/index.js'
import { node } from '../../test/cluster/index.js'
import { withAmqp } from '../../test/harness/amqp-admin.js'
import { percentile } from '../../test/harness/index.js'
import { Peer } from '../../test/integration/oslo/peer.js'
import { type Comparison, compareInTurns, compareRounds, type Contender, operate, type Round } from '../in-turns.js'
import type { OverheadPlan } from '../overhead.js'
import { table } from '../table.js'
import { PlainEcho } from './plain.js'

/** One line of the table: ours, and another way to call an echo. */
export interface RpcOverheadResult extends Comparison {
  readonly other: 'amqplib' | 'Python to Python'
  readonly queue: QueueKind
  /** Calls in flight. */
  readonly inFlight: number
  /** How long one call took, in milliseconds. */
  readonly ours: Latency
  readonly theirs: Latency
}

interface Latency {
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Queues of topics as oslo.messaging has them by default, and replicated ones. The queue for replies is always replicated here. */
type QueueKind = 'classic' | 'quorum'

const IN_FLIGHT = [1, 8, 64]
const HOST = 1
/** At least so many times the speed of request and reply written by hand. */
export const RPC_GOAL = 0.9
const TEXT = 'x'.repeat(100)
/** Python's rounds take much longer. */
const PYTHON_SHARE = 6

/** Measures `call` against the same on plain amqplib, caller and server in this process, and against Python's two. */
export async function rpcOverhead(
  plan: OverheadPlan,
  progress: (line: string) => void,
): Promise<readonly RpcOverheadResult[]> {
  const results: RpcOverheadResult[] = []
  for (const queue of ['classic', 'quorum'] as const) results.push(...(await withQueues(queue, plan, progress)))
  return results
}

async function withQueues(
  queue: QueueKind,
  plan: OverheadPlan,
  progress: (line: string) => void,
): Promise<readonly RpcOverheadResult[]> {
  const { host, port } = node('rabbit', HOST)
  const [topic, exchange] = [`rpc-${randomUUID().slice(0, 8)}`, `rpc-${randomUUID().slice(0, 8)}`]
  const isQuorum = queue === 'quorum'
  const options = { env: {}, hosts: [`${host}:${port}`], controlExchange: exchange, rabbitQuorumQueue: isQuorum }
  const [client, server] = [createTransport(options), createTransport(options)]
  const plain = await PlainEcho.open({
    host,
    port,
    repliesOn: node('rabbit', HOST + 1),
    exchange,
    topic: `${topic}-plain`,
    isQuorum,
  })
  const python = await PythonEcho.open(`${topic}-python`, exchange, host, isQuorum)
  try {
    const echo = (_: unknown, { value }: { value: unknown }): unknown => value
    await server.rpcServer({ topic, server: 'n' }, { echo })
    const caller = client.rpcClient({ topic })
    const results: RpcOverheadResult[] = []
    for (const inFlight of IN_FLIGHT) {
      const turns = { ...plan, inFlight }
      progress(`${queue} queue, ${inFlight} in flight, against amqplib`)
      const ours = new Timed(() => caller.call({}, 'echo', { value: TEXT }))
      const theirs = new Timed(() => plain.call(TEXT))
      const comparison = await compareInTurns(ours, theirs, turns)
      const common = { queue, inFlight, ours: ours.latency() }
      results.push({ other: 'amqplib', ...common, ...comparison, theirs: theirs.latency() })
      progress(`${queue} queue, ${inFlight} in flight, against Python`)
      results.push({ other: 'Python to Python', ...common, ...(await python.compare(ours, turns, comparison)) })
    }
    return results
  } finally {
    await Promise.all([python.close(), client.close(), server.close()])
    await plain.close()
    await withAmqp(HOST, async (connection) => {
      const channel = await connection.createChannel()
      for (const name of [topic, `${topic}.n`, `${topic}-python`, `${topic}-python.p`]) await channel.deleteQueue(name)
      await channel.deleteExchange(exchange)
    })
  }
}

/** Keeps how long each operation took. */
class Timed implements Contender {
  readonly #operate: () => Promise<unknown>
  #durations: number[] = []

  constructor(operate: () => Promise<unknown>) {
    this.#operate = operate
  }

  readonly operate = async (): Promise<void> => {
    const startedAt = performance.now()
    const result = await this.#operate()
    this.#durations.push(performance.now() - startedAt)
    if (result !== TEXT) throw new Error('another answer than expected')
  }

  /** Of the second half: the compiler learns in the first. */
  latency(): Latency {
    return latencyOf(this.#durations.slice(this.#durations.length / 2))
  }
}

function latencyOf(durations: readonly number[]): Latency {
  return { p50Ms: percentile(durations, 0.5), p99Ms: percentile(durations, 0.99) }
}

/** Caller and server of oslo.messaging, each in a process of its own. */
class PythonEcho {
  readonly #server: Peer
  readonly #caller: Peer

  private constructor(server: Peer, caller: Peer) {
    this.#server = server
    this.#caller = caller
  }

  static async open(topic: string, exchange: string, first: string, isQuorum: boolean): Promise<PythonEcho> {
    const rabbit = isQuorum ? { rabbit_quorum_queue: true } : {}
    const common = { topic, control_exchange: exchange, first, rabbit }
    const server = await Peer.start('rpc-server', { ...common, server: 'p' })
    const caller = await Peer.start('rpc-client', { ...common, timeout: 60, threads: Math.max(...IN_FLIGHT) })
    return new PythonEcho(server, caller)
  }

  /** Rounds in turn; the processor time of the two processes is not known. */
  async compare(
    ours: Contender,
    { inFlight, pairs, roundMs }: OverheadPlan & { readonly inFlight: number },
    { first }: Comparison,
  ): Promise<Comparison & { readonly theirs: Latency }> {
    const count = Math.max(inFlight, Math.round((first.perSecond * roundMs) / 1000))
    const each: number[] = []
    const round = async (): Promise<Round> => {
      const answer = await this.#caller.ask({ kind: 'round', inFlight, count })
      for (const seconds of answer['each'] as readonly number[]) each.push(seconds * 1000)
      return { elapsedMs: Number(answer['elapsed']) * 1000, cpuMicroseconds: Number.NaN }
    }
    // Its connections are made at the first calls.
    await round()
    each.length = 0
    const rounds = { pairs: Math.max(5, Math.round(pairs / PYTHON_SHARE)), count }
    const comparison = await compareRounds(() => operate(ours, inFlight, count), round, rounds)
    return { ...comparison, theirs: latencyOf(each) }
  }

  async close(): Promise<void> {
    await Promise.all([this.#caller.stop(), this.#server.stop()])
  }
}

export function missedRpcSpeed({ other, ratio }: RpcOverheadResult): boolean {
  return other === 'amqplib' && ratio.median < RPC_GOAL
}

export function rpcOverheadTable(results: readonly RpcOverheadResult[], { pairs, roundMs }: OverheadPlan): string {
  const header = ['other', 'queue', 'in flight', 'ours / other', 'quartiles', 'by cpu', 'ours per s', 'other per s', 'ours p50 ms', 'p99', 'other p50 ms', 'p99', 'goal'] // prettier-ignore
  const rows = results.map((result) => {
    const { other, queue, inFlight, ratio, cpuRatio, first, second, ours, theirs } = result
    return [
      other,
      queue,
      String(inFlight),
      ratio.median.toFixed(3),
      `${ratio.low.toFixed(3)}-${ratio.high.toFixed(3)}`,
      other === 'amqplib' ? cpuRatio.median.toFixed(3) : '-',
      String(Math.round(first.perSecond)),
      String(Math.round(second.perSecond)),
      ours.p50Ms.toFixed(2),
      ours.p99Ms.toFixed(2),
      theirs.p50Ms.toFixed(2),
      theirs.p99Ms.toFixed(2),
      other === 'amqplib' ? `${RPC_GOAL} ${missedRpcSpeed(result) ? 'MISSED' : 'reached'}` : '-',
    ]
  })
  const how = `median of ${pairs} pairs of rounds in turn, about ${roundMs} ms each (Python: ${Math.max(5, Math.round(pairs / PYTHON_SHARE))} pairs)`
  return `rpc, call of an echo, caller and server in one process on one node, against request and reply on amqplib with the same kinds of queues, and against Python's caller and server, ${how}\n\n${table(header, rows)}`
}
