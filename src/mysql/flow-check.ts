import { ConnectionLostError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import type { Call, Calls } from './calls.js'
import { judgeFlow, parseProcessList, processListSql, type FlowSighting, type ProcessList } from './flow.js'

/** @internal */
export interface FlowCheckOptions {
  /** `host:port`, for messages. */
  readonly name: string
  readonly calls: Calls
  /** Runs a statement on the probe's connection and returns its rows. */
  readonly ask: (sql: string, limits: WaitOptions) => Promise<unknown>
  readonly timeoutMs: number
}

/** A call is looked up first at this age, in milliseconds. */
const FIRST_CHECK_MS = 2000
/** Between two checks of one call: half its age, within these bounds; the least when its server seems to sleep. */
const MIN_PAUSE_MS = 1000
const MAX_PAUSE_MS = 30_000

interface Watch {
  readonly sighting: FlowSighting | undefined
  readonly dueAt: number
}

/**
 * Finds connections whose packets vanish while their node is fine, and cuts them: their calls would wait for ever.
 *
 * One question per node at a time, for all calls that are due. @internal
 */
export class FlowCheck {
  readonly #options: FlowCheckOptions
  readonly #watches = new WeakMap<Call, Watch>()
  #isAsking = false

  constructor(options: FlowCheckOptions) {
    this.#options = options
  }

  /** Asks the server about the old calls if any is due; called while calls are unanswered, as often as one likes. */
  look(): void {
    if (this.#isAsking) return
    const due = this.#options.calls.olderThan(FIRST_CHECK_MS).filter((call) => this.#isDue(call))
    if (due.length > 0) void this.#check(due)
  }

  #isDue(call: Call): boolean {
    return call.connection !== undefined && now() >= (this.#watches.get(call)?.dueAt ?? 0)
  }

  async #check(calls: readonly Call[]): Promise<void> {
    this.#isAsking = true
    try {
      const connections = calls.flatMap(({ connection }) => connection ?? [])
      const threadIds = connections.map(({ threadId }) => threadId)
      const isMariaDb = connections.every((connection) => connection.isMariaDb)
      const rows = await this.#options.ask(processListSql(threadIds, isMariaDb), { timeoutMs: this.#options.timeoutMs })
      // After a stall of our own the calls' answers may already wait in their sockets: judge after one poll phase.
      await new Promise((resolve) => setImmediate(resolve))
      const list = parseProcessList(rows)
      for (const call of calls) if (list !== undefined && this.#options.calls.has(call)) this.#judge(call, list)
    } catch {
      // Whether the node is well is the probe's question; this one is asked again.
      for (const call of calls) this.#watch(call, this.#watches.get(call)?.sighting)
    } finally {
      this.#isAsking = false
    }
  }

  #judge(call: Call, list: ProcessList): void {
    const { connection } = call
    // Held back by its reader: that nothing comes says nothing.
    if (connection === undefined || connection.isPaused) {
      this.#watch(call, undefined)
      return
    }
    const verdict = judgeFlow(this.#watches.get(call)?.sighting, connection, list)
    if (verdict.lost === undefined) this.#watch(call, verdict.sighting)
    else connection.cut(new ConnectionLostError(this.#options.name, `packets do not get through: ${verdict.lost}`))
  }

  #watch(call: Call, sighting: FlowSighting | undefined): void {
    const halfAgeMs = (now() - call.startedAt) / 2
    const pauseMs = sighting?.isAsleep === true ? MIN_PAUSE_MS : Math.max(MIN_PAUSE_MS, halfAgeMs)
    this.#watches.set(call, { sighting, dueAt: now() + Math.min(MAX_PAUSE_MS, pauseMs) })
  }
}
