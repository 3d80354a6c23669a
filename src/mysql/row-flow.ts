import { now } from '../core/timing.js'
import type { Call, Calls } from './calls.js'
import type { DriverConnection } from './driver.js'
import type { RowSink } from './row-stream.js'

/** While rows come the node is not silent; noting that for each row would cost more than the row. */
const RENEW_AFTER_MS = 50

/**
 * The rows of one result on their way from the socket into a sink, at the pace of its reader.
 *
 * A pause that the reader asks for is no silence of the node: only while rows are wanted is there a call to watch.
 * @internal
 */
export class RowFlow {
  readonly #connection: DriverConnection
  readonly #calls: Calls
  readonly #sink: RowSink
  #call: Call | undefined
  #isTaking = false
  #isWanted = false

  constructor(connection: DriverConnection, calls: Calls, sink: RowSink) {
    this.#connection = connection
    this.#calls = calls
    this.#sink = sink
    this.#call = calls.start()
    sink.onDemand = () => this.demand()
  }

  take(row: unknown): void {
    this.#renew()
    if (this.#give(row) || this.#isWanted) return
    this.#unwatch()
    this.#connection.pause()
  }

  demand(): void {
    this.#isWanted = true
    // Resuming delivers rows at once, and mysql2 is still busy with the one that is being taken.
    if (this.#isTaking || this.#call !== undefined) return
    this.#call = this.#calls.start()
    this.#connection.resume()
  }

  end(): void {
    this.#unwatch()
    this.#sink.onDemand = () => undefined
  }

  #give(row: unknown): boolean {
    this.#isWanted = false
    this.#isTaking = true
    const isMoreWelcome = this.#sink.take(row)
    this.#isTaking = false
    return isMoreWelcome
  }

  #renew(): void {
    if (this.#call === undefined || now() - this.#call.startedAt < RENEW_AFTER_MS) return
    this.#unwatch()
    this.#call = this.#calls.start()
  }

  #unwatch(): void {
    if (this.#call !== undefined) this.#calls.end(this.#call, false)
    this.#call = undefined
  }
}
