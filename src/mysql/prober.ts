import { TimeoutError, toError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
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

  /** Runs other statements on the same connection, or on a fresh one when a probe is using it; resolves to the rows. */
  run(sql: string, limits: WaitOptions): Promise<unknown> {
    return this.#exchange(sql, limits)
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
    return parseReport(await this.#exchange(PROBE_SQL, { timeoutMs: limitMs }))
  }

  async #exchange(sql: string, limits: WaitOptions): Promise<unknown> {
    const stop = new AbortController()
    const late = (elapsedMs: number): Error =>
      new TimeoutError('operation', elapsedMs, `probe of ${this.#options.name} unanswered`)
    const signal =
      limits.signal === undefined ? this.#closed.signal : AbortSignal.any([limits.signal, this.#closed.signal])
    const wait = { timeoutMs: limits.timeoutMs, signal }
    return waitWithin(this.#send(sql, stop.signal), wait, late, (reason) => stop.abort(reason))
  }

  async #send(sql: string, stop: AbortSignal): Promise<unknown> {
    const connection = this.#take() ?? (await this.#options.dial(stop))
    const onAbort = (): void => connection.cut(toError(stop.reason))
    stop.addEventListener('abort', onAbort, { once: true })
    try {
      const [results] = await connection.run('query', { sql })
      this.#keep(connection)
      return results
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
