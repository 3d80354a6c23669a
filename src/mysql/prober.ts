import { TimeoutError, toError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import type { DriverConnection } from './driver.js'
import { PROBE_SQL, parseReport, type NodeReport } from './galera.js'

/** @internal */
export interface ProberOptions {
  /** `host:port`, for messages. */
  readonly name: string
  /** Opens a connection that takes several statements at once. */
  readonly dial: (signal: AbortSignal) => Promise<DriverConnection>
  readonly onAnswer: (report: NodeReport, askedAt: number) => void
  readonly onMiss: (error: Error, askedAt: number) => void
  /** The idle probe connection died. */
  readonly onLost: (error: Error) => void
}

/** One on the standing connection and one on a fresh one: the second tells a dead node from a dropped flow. */
const MAX_RUNNING = 2

/**
 * Asks one node how it is, on a connection of its own.
 *
 * The connection is kept between probes, so that a node at its connection limit can still be asked and that probes
 * never count as aborted handshakes (1129). @internal
 */
export class Prober {
  readonly #options: ProberOptions
  readonly #closed = new AbortController()
  #idle: DriverConnection | undefined
  #running = 0

  constructor(options: ProberOptions) {
    this.#options = options
  }

  get isRunning(): boolean {
    return this.#running > 0
  }

  /** Asks once; the result goes to `onAnswer` or `onMiss`. With one probe still unanswered, a second dials anew. */
  async ask(limitMs: number): Promise<void> {
    if (this.#running >= MAX_RUNNING || this.#isClosed()) return
    const askedAt = now()
    this.#running += 1
    try {
      const report = await this.#ask(limitMs)
      if (!this.#isClosed()) this.#options.onAnswer(report, askedAt)
    } catch (error) {
      if (!this.#isClosed()) this.#options.onMiss(toError(error), askedAt)
    } finally {
      this.#running -= 1
    }
  }

  close(reason: Error): void {
    this.#closed.abort(reason)
    this.#idle?.quit()
    this.#idle = undefined
  }

  #isClosed(): boolean {
    return this.#closed.signal.aborted
  }

  async #ask(limitMs: number): Promise<NodeReport> {
    const attempt = new AbortController()
    const stop = AbortSignal.any([attempt.signal, this.#closed.signal])
    const late = (elapsedMs: number): Error =>
      new TimeoutError('operation', elapsedMs, `probe of ${this.#options.name} unanswered`)
    const limits = { timeoutMs: limitMs, signal: this.#closed.signal }
    return waitWithin(this.#exchange(stop), limits, late, (reason) => attempt.abort(reason))
  }

  async #exchange(stop: AbortSignal): Promise<NodeReport> {
    const connection = this.#take() ?? (await this.#options.dial(stop))
    const onAbort = (): void => connection.cut(toError(stop.reason))
    stop.addEventListener('abort', onAbort, { once: true })
    try {
      const [results] = await connection.run('query', { sql: PROBE_SQL })
      this.#keep(connection)
      return parseReport(results)
    } catch (error) {
      connection.cut(toError(error))
      throw error
    } finally {
      stop.removeEventListener('abort', onAbort)
    }
  }

  #take(): DriverConnection | undefined {
    const connection = this.#idle
    this.#idle = undefined
    if (connection === undefined) return undefined
    connection.onLost = undefined
    return connection.lost === undefined ? connection : undefined
  }

  #keep(connection: DriverConnection): void {
    if (this.#idle !== undefined || this.#closed.signal.aborted) {
      connection.quit()
      return
    }
    this.#idle = connection
    connection.onLost = (error) => {
      this.#idle = undefined
      this.#options.onLost(error)
    }
  }
}
