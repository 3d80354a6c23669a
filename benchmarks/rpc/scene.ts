import { randomUUID } from 'node:crypto'
import { isHAError } from '../../src/core/errors.js'
import { withAmqp } from '../../test/harness/amqp-admin.js'
import { closeAll } from '../../test/harness/closing.js'
import {
  type Findings,
  hostList,
  type Load,
  nextNode,
  nodeInUse,
  type Oracle,
  type Outcome,
  type Recorder,
  type Scene,
  type SideLoad,
  sleep,
} from '../../test/harness/index.js'
import { castOracle } from './oracle.js'
import type { Caller, Place, Server } from './parties.js'

/** What a run of calls depends on. */
export interface RpcSceneOptions {
  /**
   * Where the server and the queue of the topic are: on another node than the one that is hit, or, with a replicated
   * queue, there too.
   * @default 'apart'
   */
  readonly placed?: 'apart' | 'together'
}

const CALLERS = 8
const LIMIT_MS = 20_000
/** A call that is not settled so long after its limit is counted as never settled. */
export const CALL_ALLOWANCE_MS: number = LIMIT_MS + 200
/** New calls, whatever became of those before: callers that wait for an answer that was lost do not show that others get one. */
const NEW_CALLS_PER_SECOND = 20
const NEW = 'new calls'
const ARRIVAL_LIMIT_MS = 3000

/** A call that failed. */
interface Failure {
  readonly startedAt: number
  /** True for one beside those of the callers. */
  readonly isNew: boolean
}

/** Callers of an echo, each with one call at a time, and the node that they use. */
export class RpcScene implements Scene {
  readonly kind = 'rabbit'
  readonly subject: Caller
  readonly main: Load
  readonly sides: readonly SideLoad[]
  readonly series: Scene['series'] = {}
  readonly #server: Server
  readonly #options: RpcSceneOptions
  readonly #place: Place
  readonly #executed = new Map<string, number>()
  readonly #failures: Failure[] = []
  #running = 0
  #target = 0
  #faultAt = 0
  #injectedAt = 0
  #inFlight = 0

  /** `hasNewCalls` adds calls that begin at a steady rate: no library has threads or connections for any number of them. */
  constructor(caller: Caller, server: Server, hasNewCalls: boolean, options: RpcSceneOptions) {
    this.subject = caller
    this.#server = server
    this.#options = options
    const name = `rpc-${randomUUID().slice(0, 8)}`
    this.#place = {
      hosts: hostList('rabbit'),
      topic: name,
      exchange: `${name}-exchange`,
      isQuorum: options.placed === 'together',
      limitMs: LIMIT_MS,
    }
    const common = { allowanceMs: CALL_ALLOWANCE_MS, outcomeOf }
    this.main = { ...common, workers: CALLERS, operate: ({ id }) => this.#call(id, false) }
    const workers = Math.ceil((NEW_CALLS_PER_SECOND * (CALL_ALLOWANCE_MS + 500)) / 1000)
    const newCalls: SideLoad = {
      ...common,
      name: NEW,
      workers,
      ratePerSecond: NEW_CALLS_PER_SECOND,
      operate: ({ id }) => this.#call(`new ${id}`, true),
    }
    this.sides = hasNewCalls ? [newCalls] : []
  }

  async open(): Promise<void> {
    await this.subject.open(this.#place)
    const { hosts } = this.#place
    // A caller that does not say begins with the first one.
    this.#target = hosts.indexOf(this.subject.inUse?.() ?? hosts[0] ?? '') + 1
    const first = this.#options.placed === 'together' ? this.#target : nextNode('rabbit', this.#target)
    const ordered = [...hosts.slice(first - 1), ...hosts.slice(0, first - 1)]
    await this.#server.open({ ...this.#place, hosts: ordered }, (value) => {
      this.#executed.set(value, (this.#executed.get(value) ?? 0) + 1)
    })
  }

  target(): Promise<number> {
    return Promise.resolve(nodeInUse('rabbit', this.subject))
  }

  async oracles(target: number): Promise<readonly Oracle[]> {
    return [await castOracle(nextNode('rabbit', target), this.#place)]
  }

  survey(moment: 'before' | 'during'): Promise<void> {
    if (moment === 'before') this.#faultAt = performance.now()
    return Promise.resolve()
  }

  injected(): void {
    this.#injectedAt = performance.now()
    this.#inFlight = this.#running
  }

  async verify({ ledger }: Recorder): Promise<Findings> {
    const acknowledged = [...ledger.ids('acknowledged')]
    const missing = (): readonly string[] => acknowledged.filter((id) => !this.#executed.has(id))
    const deadline = performance.now() + ARRIVAL_LIMIT_MS
    while (missing().length > 0 && performance.now() < deadline) await sleep(50)
    await this.#stop()
    const executed = new Map([...this.#executed].filter(([value]) => !value.startsWith('new ')))
    const { lost, twice, denied, strangers, unknownThere } = ledger.compare(executed)
    const failures = this.#failures
    const movedAt = this.subject.failovers?.().find(({ at = 0 }) => at > this.#faultAt)?.at ?? Infinity
    const failedLater = failures.filter(({ startedAt, isNew }) => !isNew && startedAt > this.#injectedAt).length
    const failedAfterMove = failures.filter(({ startedAt }) => startedAt > movedAt).length
    return {
      lost: lost.length,
      twice: [...this.#executed.values()].filter((times) => times > 1).length,
      denied: denied.length,
      stale: 0,
      moved: 0,
      wrong: strangers.length,
      notes: { inFlight: this.#inFlight, failedLater, failedAfterMove, unknownThere, ...this.#server.notes() },
      examples: [
        ...lost.slice(0, 3).map((id) => `lost ${id}`),
        ...twice.slice(0, 3).map((id) => `run twice ${id}`),
        ...denied.slice(0, 3).map((id) => `denied ${id}`),
      ],
    }
  }

  unhandled(): readonly string[] {
    return this.#server.unhandled()
  }

  async close(): Promise<void> {
    await this.#stop()
    await closeAll([() => this.#remove()])
  }

  async #call(value: string, isNew: boolean): Promise<void> {
    const startedAt = performance.now()
    if (!isNew) this.#running += 1
    try {
      await this.subject.call(value)
    } catch (error) {
      this.#failures.push({ startedAt, isNew })
      throw error
    } finally {
      if (!isNew) this.#running -= 1
    }
  }

  async #stop(): Promise<void> {
    await Promise.all([closeAll([() => this.subject.close()]), this.#server.stop()])
  }

  #remove(): Promise<void> {
    const { topic, exchange } = this.#place
    return withAmqp(this.#target, async (connection) => {
      const channel = await connection.createChannel()
      for (const queue of [topic, `${topic}.node`, `${topic}.python`]) await channel.deleteQueue(queue)
      await channel.deleteExchange(exchange)
    })
  }
}

/** What the error below says: `safeToRetry` promises that nothing can have happened. */
function outcomeOf(error: unknown): Outcome {
  const { cause } = error as { readonly cause?: unknown }
  return isHAError(cause) && cause.safeToRetry ? 'failed' : 'unknown'
}
