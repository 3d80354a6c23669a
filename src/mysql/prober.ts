import { TimeoutError, toError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { now, onAbort } from '../core/timing.js'
import type { DriverConnection } from './driver.js'
import { PROBE_SQL, parseReport, type NodeReport } from './galera.js'

/** @internal */
export interface ProberOptions {
  /** `host:port`, for messages. */
  readonly name: string
  /** Opens a connection that takes several statements at once. */
  readonly dial: (signal: AbortSignal) => Promise<DriverConnection>
  readonly onAnswer: (report: NodeReport, askedAt: number) => void
  readonly onMiss: (error: Error) => void
  /** The standing connection died. */
  readonly onLost: (error: Error) => void
}

/** One on the standing connection and one on a fresh one: the second tells a dead node from a dropped flow. */
const MAX_RUNNING = 2
/** The standing connection is renewed at most so often, in milliseconds, whatever makes it doubtful. */
const RENEWAL_PAUSE_MS = 1000

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
  #isRenewing = false
  #dialledAt = -Infinity
  /** Counts renewals: what was asked on a connection of before says nothing about the server that answers now. */
  #generation = 0
  /** When what was answered last was asked. */
  #answeredAskedAt = -Infinity
  #address: string | undefined

  constructor(options: ProberOptions) {
    this.#options = options
  }

  get isRunning(): boolean {
    return this.#running > 0
  }

  /** The address that answered last. */
  get address(): string | undefined {
    return this.#address
  }

  /** Since the last dial, successful or not. */
  get dialAgeMs(): number {
    return now() - this.#dialledAt
  }

  /**
   * Asks once; the result goes to `onAnswer` or `onMiss`. With one probe still unanswered, a second dials anew; what was
   * asked earlier and ends later says nothing any more, and may come from another server.
   */
  async ask(limitMs: number): Promise<void> {
    if (this.#running >= MAX_RUNNING || this.#isClosed()) return
    const askedAt = now()
    const generation = this.#generation
    const isOver = (): boolean => this.#isClosed() || generation !== this.#generation || askedAt < this.#answeredAskedAt
    this.#running += 1
    try {
      const report = parseReport(await this.#exchange(PROBE_SQL, { timeoutMs: limitMs }))
      if (!isOver()) this.#answer(report, askedAt)
    } catch (error) {
      if (!isOver()) this.#options.onMiss(toError(error))
    } finally {
      this.#running -= 1
    }
  }

  /**
   * Asks on a fresh connection, which replaces the standing one once it is answered: the host may lead to another server
   * by now. A failure says nothing, and the standing connection stays: the server may just have no room for one more.
   */
  async renew(limitMs: number): Promise<void> {
    if (this.#isRenewing || this.#isClosed() || this.dialAgeMs < RENEWAL_PAUSE_MS) return
    const askedAt = now()
    this.#isRenewing = true
    try {
      const report = parseReport(await this.#exchange(PROBE_SQL, { timeoutMs: limitMs }, true))
      if (!this.#isClosed()) this.#answer(report, askedAt)
    } catch {
      // The next one, or a probe, will tell.
    } finally {
      this.#isRenewing = false
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

  #answer(report: NodeReport, askedAt: number): void {
    this.#answeredAskedAt = askedAt
    this.#options.onAnswer(report, askedAt)
  }

  #isClosed(): boolean {
    return this.#closed.signal.aborted
  }

  async #exchange(sql: string, limits: WaitOptions, isRenewal = false): Promise<unknown> {
    const stop = new AbortController()
    const late = (elapsedMs: number): Error =>
      new TimeoutError('operation', elapsedMs, `probe of ${this.#options.name} unanswered`)
    const signal =
      limits.signal === undefined ? this.#closed.signal : AbortSignal.any([limits.signal, this.#closed.signal])
    const wait = { timeoutMs: limits.timeoutMs, signal }
    return waitWithin(this.#send(sql, stop.signal, isRenewal), wait, late, (reason) => stop.abort(reason))
  }

  async #send(sql: string, stop: AbortSignal, isRenewal: boolean): Promise<unknown> {
    const generation = this.#generation
    const connection = (isRenewal ? undefined : this.#take()) ?? (await this.#dial(stop))
    const forget = onAbort(stop, () => connection.cut(toError(stop.reason)))
    try {
      const [results] = await connection.run('query', { sql })
      if (isRenewal) this.#replace(connection)
      else this.#keep(connection, generation)
      return results
    } catch (error) {
      connection.cut(toError(error))
      throw error
    } finally {
      forget()
    }
  }

  #dial(stop: AbortSignal): Promise<DriverConnection> {
    this.#dialledAt = now()
    return this.#options.dial(stop)
  }

  #take(): DriverConnection | undefined {
    const connection = this.#idle
    this.#idle = undefined
    if (connection === undefined) return undefined
    connection.onLost = undefined
    return connection.lost === undefined ? connection : undefined
  }

  #replace(connection: DriverConnection): void {
    this.#take()?.quit()
    this.#generation += 1
    this.#keep(connection, this.#generation)
  }

  #keep(connection: DriverConnection, generation: number): void {
    if (this.#idle !== undefined || generation !== this.#generation || this.#isClosed()) {
      connection.quit()
      return
    }
    this.#idle = connection
    this.#address = connection.dialled.address
    connection.onLost = (error) => {
      this.#idle = undefined
      this.#options.onLost(error)
    }
  }
}
