import { ClosedError, ConnectionLostError, TimeoutError, toError } from '../core/errors.js'
import { TimeLimit, waitWithin, type WaitOptions } from '../core/time-limit.js'
import { abortReason, now, onAbort, sleep } from '../core/timing.js'
import type { Call } from './calls.js'
import { classify } from './classify.js'
import { StreamOpenError } from './errors.js'
import type { DriverConnection, DriverResult, DriverStatement } from './driver.js'
import type { Node } from './node.js'
import { RowFlow } from './row-flow.js'
import type { RowSink } from './row-stream.js'
import type { Session } from './session.js'

/** How long a transaction left open may take to roll back at release before its connection is replaced instead. */
const ROLLBACK_LIMIT_MS = 1000
/** How long what is left of a result may take to come in, once its reader has left, before the connection is cut. */
const DRAIN_LIMIT_MS = 500

/**
 * One checkout: a connection of one node, for one caller, until it is released.
 *
 * It never changes its node. All statements of the package go through `run`, which watches for silence, keeps the
 * transaction state, and cuts the connection when the caller leaves before the answer. @internal
 */
export class Lease {
  readonly node: Node
  readonly #session: Session
  readonly #onReleased: (lease: Lease) => void
  #isReleased = false
  #running = 0
  #isCommitting = false
  /** What the rows on their way go into. */
  #sink: RowSink | undefined

  constructor(node: Node, session: Session, onReleased: (lease: Lease) => void) {
    this.node = node
    this.#session = session
    this.#onReleased = onReleased
  }

  get isInTransaction(): boolean {
    return this.#session.isInTransaction
  }

  get connection(): DriverConnection {
    return this.#session.connection
  }

  /** True while rows come that somebody still wants, and may hold back. */
  get isStreaming(): boolean {
    return this.#sink?.mayWait === true && !this.#sink.left.aborted
  }

  /** Sends one statement. Rejects with the server's error, or with why the connection was lost or given up. */
  run(method: 'query' | 'execute', statement: DriverStatement, limits: WaitOptions = {}): Promise<DriverResult> {
    const refusal = this.#refusal(limits)
    return refusal === undefined ? this.#send(method, statement, limits) : Promise.reject(refusal)
  }

  /** Sends COMMIT, which is not killed when its caller gives up: it holds its locks for as long as it takes only. */
  async commit(limits: WaitOptions): Promise<DriverResult> {
    this.#isCommitting = true
    try {
      return await this.run('query', { sql: 'COMMIT' }, limits)
    } finally {
      this.#isCommitting = false
    }
  }

  /**
   * Sends one statement and its rows into `sink`; resolves when all of them came, to the header of one without rows.
   *
   * When the reader leaves early the rest is read and thrown away for a moment; a connection with much left is cut.
   */
  async stream(statement: DriverStatement, sink: RowSink, limits: WaitOptions = {}): Promise<DriverResult> {
    const refusal = this.#refusal(limits)
    if (refusal !== undefined) throw refusal
    if (sink.left.aborted) throw abortReason(sink.left)
    const { connection } = this.#session
    const flow = new RowFlow(connection, this.node.calls, sink)
    let drainLimit: TimeLimit | undefined
    const onLeft = (): void => {
      const late = `${this.node.name}: the reader of a stream left, and the rest was too long`
      drainLimit = new TimeLimit(DRAIN_LIMIT_MS, () => this.cut(new TimeoutError('operation', DRAIN_LIMIT_MS, late)))
      flow.demand()
    }
    this.#sink = sink
    const forget = onAbort(sink.left, onLeft)
    try {
      return await this.#settle(
        connection.rows(statement, (row) => flow.take(row), sink.onFields),
        statement.sql,
        limits,
      )
    } finally {
      forget()
      drainLimit?.clear()
      flow.end()
      this.#sink = undefined
    }
  }

  /**
   * Runs what is no statement: a ping, a new user. With `isNewSession` the connection is not handed out again: what the
   * pool has set up on it is gone.
   */
  async control(
    start: (connection: DriverConnection) => Promise<DriverResult>,
    isNewSession: boolean,
  ): Promise<DriverResult> {
    const refusal = this.#refusal({})
    if (refusal !== undefined) throw refusal
    const { connection } = this.#session
    if (isNewSession) this.#session.spoil()
    // The text of a statement that leaves no transaction open when it fails, as these.
    return this.#settle(start(connection), 'SELECT', {}, this.node.calls.start(connection))
  }

  /** Ends the connection at once; what runs on it rejects with `error`. */
  cut(error: Error): void {
    const { connection } = this.#session
    const isKilled = this.#running > 0 && !this.#isCommitting && connection.lost === undefined
    this.#session.spoil()
    connection.cut(error)
    if (isKilled) this.node.kill(connection)
  }

  /** Gives the connection back; a transaction left open is rolled back first. A second call does nothing. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    // What still runs would run on within the next borrower's transaction.
    if (this.#running > 0) this.cut(new ConnectionLostError(this.node.name, 'it was released while a statement ran'))
    const { isInTransaction, isUnsure, isReusable } = this.#session
    if ((isInTransaction || isUnsure) && isReusable) void this.#rollBack()
    else this.#giveBack()
  }

  #send(method: 'query' | 'execute', statement: DriverStatement, limits: WaitOptions): Promise<DriverResult> {
    const { connection } = this.#session
    const call = this.node.calls.start(connection)
    return this.#settle(connection.run(method, statement), statement.sql, limits, call)
  }

  /** Takes note of how a statement under way ends; `call` is ended with it. */
  async #settle(work: Promise<DriverResult>, sql: string, limits: WaitOptions, call?: Call): Promise<DriverResult> {
    this.#running += 1
    let isAnswered = false
    try {
      const isUnlimited = limits.timeoutMs === undefined && limits.signal === undefined
      const result = await (isUnlimited ? work : this.#bound(work, limits))
      isAnswered = true
      this.#session.noteResult(result)
      return result
    } catch (error) {
      this.#session.noteError(error, sql)
      // A privilege that one statement lacks says nothing about the node.
      if (classify(error).node !== 'misconfigured') this.node.noteError(error)
      throw error
    } finally {
      this.#running -= 1
      if (call !== undefined) this.node.calls.end(call, isAnswered)
    }
  }

  #bound(work: Promise<DriverResult>, limits: WaitOptions): Promise<DriverResult> {
    const late = (elapsedMs: number): Error =>
      new TimeoutError('operation', elapsedMs, `statement on ${this.node.name}`)
    return waitWithin(work, limits, late, (reason) => this.cut(reason))
  }

  #refusal(limits: WaitOptions): Error | undefined {
    if (this.#isReleased) return new ClosedError('released connection')
    if (limits.signal?.aborted === true) return abortReason(limits.signal)
    const { lost } = this.#session.connection
    if (lost !== undefined) {
      return new ConnectionLostError(this.node.name, `nothing was sent: ${lost.message}`, {
        cause: lost,
        safeToRetry: true,
      })
    }
    return this.isStreaming ? new StreamOpenError(this.node.name) : undefined
  }

  async #rollBack(): Promise<void> {
    try {
      await this.#send('query', { sql: 'ROLLBACK' }, { timeoutMs: ROLLBACK_LIMIT_MS })
      if (this.#session.isInTransaction) this.#session.spoil()
    } catch (error) {
      this.cut(toError(error))
    }
    this.#giveBack()
  }

  #giveBack(): void {
    this.node.pool.release(this.#session)
    this.#onReleased(this)
  }
}

/** Waits until `count` says that no lease is left, for `limitMs` at most. Rejects with the signal's reason. @internal */
export async function releasedWithin(
  count: () => number,
  limitMs: number,
  signal: AbortSignal,
  lookMs = 5,
): Promise<void> {
  const deadline = now() + limitMs
  while (count() > 0 && now() < deadline) await sleep(Math.min(lookMs, limitMs), signal)
}
