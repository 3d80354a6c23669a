import { TimeoutError, toError } from '../core/errors.js'
import { assertWanted, remaining, type WaitOptions } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import { CallbackFace } from './callback-face.js'
import { classify, type Outcome } from './classify.js'
import type { Queryable } from './connection.js'
import { StatementOutcomeUnknownError, StreamOpenError, TransactionEndedError } from './errors.js'
import type { CallbackConnection, DriverResult } from './driver.js'
import type { Lease } from './lease.js'
import { withOutcome } from './outcome.js'
import type { QueryResult, Row } from './result.js'
import { rowStream, type RowSink, type RowStream } from './row-stream.js'
import type { Stop } from './stop.js'
import { beginsAnother, cannotCommit, isCall, toStatement } from './statement.js'
import type { Statement, StatementOptions, StreamOptions } from './statement.js'
import { TransactionChannel } from './transaction-channel.js'
import { Turns } from './turns.js'

/** @internal */
export const BEGIN = 'START TRANSACTION'

/**
 * A running transaction, handed to the function given to `pool.transaction`.
 *
 * All statements run on one connection of one node. After an error that ends the transaction on the server (a deadlock,
 * a lost connection) every further call rejects: it would run outside the transaction.
 */
export class Transaction implements Queryable {
  readonly #lease: Lease
  readonly #stop: Stop
  readonly #turns = new Turns()
  #isBegun: boolean
  #ended: TransactionEndedError | StatementOutcomeUnknownError | undefined
  #isOver = false
  #isRolledBack = false
  #channel: TransactionChannel | undefined
  #face: CallbackFace | undefined
  #failure: { readonly error: unknown; readonly outcome: Outcome } | undefined

  /** One that has not begun does so with its first statement. @internal */
  constructor(lease: Lease, stop: Stop, isBegun: boolean) {
    this.#lease = lease
    this.#stop = stop
    this.#isBegun = isBegun
  }

  /** `host:port` of the node it runs on. */
  get host(): string {
    return this.#lease.node.name
  }

  /** Aborted when the transaction's limit runs out, its caller gives up, or the pool is destroyed. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /**
   * The connection as mysql2's, for what is to work inside this transaction and takes one: an ORM.
   *
   * A BEGIN and a COMMIT on it send nothing: the transaction commits when the function has ended. A ROLLBACK ends it.
   */
  get connection(): CallbackConnection {
    this.#channel ??= new TransactionChannel(this, this.#lease)
    this.#face ??= new CallbackFace(this.#lease.connection, this.#channel)
    return this.#face as unknown as CallbackConnection
  }

  query<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#queue('query', sql, values)
  }

  execute<T = Row[]>(sql: string | StatementOptions, values?: unknown): Promise<QueryResult<T>> {
    return this.#queue('execute', sql, values)
  }

  /**
   * The rows of a SELECT as a stream. As with a connection: read it to its end, or leave it, before the next statement.
   * A reader that leaves when much is left ends the transaction: use LIMIT.
   */
  stream<T = Row>(sql: string | StreamOptions, values?: unknown): RowStream<T> {
    const statement = toStatement(sql, values)
    return rowStream<T>((sink) => this.fill(statement, sink), statement.highWaterMark)
  }

  /** Throws when the transaction cannot be committed any more; waits for what was asked before. @internal */
  check(): Promise<void> {
    return this.#inTurn('', () => Promise.resolve())
  }

  /** Rolls back now: what comes afterwards is refused. @internal */
  async rollBack(): Promise<void> {
    await this.#turns.idle()
    this.#isRolledBack = true
    if (!this.#isBegun || !this.#lease.isInTransaction || this.isLost) return
    try {
      await this.#lease.run('query', { sql: 'ROLLBACK' })
    } catch (error) {
      // Then nothing is left to roll back, and why it was to be is worth more.
      if (this.#lease.connection.lost === undefined) throw error
    }
  }

  /** True when the server has rolled it back by itself, savepoints included. @internal */
  get isRolledBackByServer(): boolean {
    return this.isLost || this.#failure?.outcome === 'rolledBack' || this.#failure?.outcome === 'lost'
  }

  /** Waits for statements that were started and not awaited, and throws when the transaction is over already. @internal */
  async settle(): Promise<void> {
    await this.#channel?.idle()
    await this.#turns.idle()
    this.#assertAlive()
    if (this.#lease.isStreaming) throw new StreamOpenError(this.#lease.node.name)
    // What the function has left behind must not run after the COMMIT.
    this.#isOver = true
  }

  /** Refuses further statements, and waits for the one that runs. @internal */
  async end(): Promise<void> {
    this.#isOver = true
    this.#face?.detach()
    await this.#turns.idle()
  }

  /** False until its first statement: there is nothing to commit. @internal */
  get isBegun(): boolean {
    return this.#isBegun
  }

  /** True once the function that it was handed to has ended. @internal */
  get isOver(): boolean {
    return this.#isOver
  }

  /** True when its connection is gone, so that it cannot be committed any more. @internal */
  get isLost(): boolean {
    return this.#lease.connection.lost !== undefined
  }

  /** Takes note of work of the function, beside this connection, that failed because the writer changed. @internal */
  fail(error: Error): void {
    this.#failure ??= { error, outcome: 'lost' }
  }

  /** What `error`, with which the function ended, allows: `statementFailed` unless all of it can be run again. @internal */
  outcomeOf(error: unknown): Outcome {
    const failure = this.#failure
    if (failure === undefined || this.#ended !== undefined) return 'statementFailed'
    // After a lock wait time-out the transaction is still open: only the caller knows whether the function went on.
    if (failure.outcome !== 'lockWait') return failure.outcome
    return hasCause(error, failure.error) ? 'lockWait' : 'statementFailed'
  }

  /** Runs one statement. @internal */
  run(method: 'query' | 'execute', statement: Statement): Promise<DriverResult> {
    return this.#inTurn(statement.driver.sql, () => this.#send(method, statement))
  }

  #queue<T>(method: 'query' | 'execute', sql: string | StatementOptions, values: unknown): Promise<QueryResult<T>> {
    try {
      const result: Promise<unknown> = this.run(method, toStatement(sql, values))
      return result as Promise<QueryResult<T>>
    } catch (error) {
      return Promise.reject(toError(error))
    }
  }

  #send(method: 'query' | 'execute', { driver, limits }: Statement): Promise<DriverResult> {
    const send = (left: WaitOptions): Promise<DriverResult> =>
      this.#settle(driver.sql, this.#lease.run(method, driver, left))
    return this.#isBegun ? send(limits) : this.#begin(limits).then(send)
  }

  /**
   * Runs one statement and puts its rows into `sink`. Its turn is over when it is sent: what comes next is refused by the
   * connection instead of waiting for a reader. @internal
   */
  async fill({ driver, limits }: Statement, sink: RowSink): Promise<DriverResult> {
    const sent = this.#inTurn(driver.sql, async () => {
      const left = this.#isBegun ? limits : await this.#begin(limits)
      return { done: this.#settle(driver.sql, this.#lease.stream(driver, sink, left)) }
    })
    return (await sent).done
  }

  /** Resolves to what is left of the limits. */
  async #begin(limits: WaitOptions): Promise<WaitOptions> {
    assertWanted(limits)
    const startedAt = now()
    this.#isBegun = true
    try {
      await this.#lease.run('query', { sql: BEGIN }, limits)
    } catch (error) {
      this.#noteFailure(error)
      throw error
    }
    this.#assertAlive()
    return remaining(limits, startedAt)
  }

  /** One after the other: after a deadlock the server would run the next one outside the transaction. */
  #inTurn<R>(sql: string, start: () => Promise<R>): Promise<R> {
    const failureBefore = this.#failure
    return this.#turns.run(() => {
      const failure = this.#failure
      // Asked for before the failure, as with Promise.all: the caller has not swallowed anything.
      if (failure !== failureBefore && (failure?.outcome === 'lost' || failure?.outcome === 'rolledBack')) {
        return Promise.reject(toError(failure.error))
      }
      const ended = this.#whyEnded()
      if (ended !== undefined) return Promise.reject(ended)
      if (!beginsAnother(sql)) return start()
      this.#ended = new TransactionEndedError('its function asked to begin another one, and was refused')
      return Promise.reject(this.#ended)
    })
  }

  /** Takes note of how the statement that runs has ended. */
  async #settle<R>(sql: string, running: Promise<R>): Promise<R> {
    try {
      const result = await running
      if (!this.#lease.isInTransaction) {
        this.#ended ??= new TransactionEndedError('a statement committed or rolled it back')
      }
      return result
    } catch (error) {
      const told = withOutcome(error, this.#lease, sql, true)
      const outcome = this.#noteFailure(told)
      // It may be committed: whatever the function makes of it, it must not be run again.
      if (told instanceof StatementOutcomeUnknownError) this.#ended ??= told
      // DDL and its kin commit before they fail. A procedure may, too, which is said in the documentation.
      else if (outcome !== 'lost' && !cannotCommit(sql) && !isCall(sql)) {
        this.#ended ??= new TransactionEndedError(`a statement failed that may have committed it`, toError(error))
      }
      throw told
    }
  }

  #noteFailure(error: unknown): Outcome {
    const { outcome, node } = classify(error)
    // The caller's own limit is its decision, and a privilege that is missing will be missing again.
    const isFinal =
      error instanceof TimeoutError || error instanceof StatementOutcomeUnknownError || node === 'misconfigured'
    if (outcome !== 'statementFailed' && !isFinal) this.#failure = { error, outcome }
    return outcome
  }

  #assertAlive(): void {
    const ended = this.#whyEnded()
    if (ended !== undefined) throw ended
  }

  #whyEnded(): Error | undefined {
    if (this.#isRolledBack) this.#ended ??= new TransactionEndedError('it was rolled back')
    if (this.#isOver) this.#ended ??= new TransactionEndedError('it was committed or rolled back')
    if (this.#ended === undefined && this.#isBegun && !this.#lease.isInTransaction) {
      const cause = this.#failure === undefined ? undefined : toError(this.#failure.error)
      const reason = cause === undefined ? 'a statement committed or rolled it back' : cause.message
      this.#ended = new TransactionEndedError(reason, cause)
    }
    return this.#ended
  }
}

/** Also within an error of TypeORM or Sequelize, which have names of their own for it. */
function hasCause(error: unknown, wanted: unknown): boolean {
  let link: unknown = error
  while (typeof link === 'object' && link !== null && link !== wanted) {
    const { cause, driverError, parent } = link as { cause?: unknown; driverError?: unknown; parent?: unknown }
    link = cause ?? driverError ?? parent
  }
  return link === wanted
}
