import { ClosedError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import type { Channel } from './channel.js'
import { ChannelTurns } from './channel-turns.js'
import { classify } from './classify.js'
import type { DriverConnection, DriverResult } from './driver.js'
import type { Lease } from './lease.js'
import { commit, withOutcome } from './outcome.js'
import type { RowSink } from './row-stream.js'
import { isCommit, isRollback, toStatement, type Statement } from './statement.js'

/** The answer to what was not sent, because there is nothing to do. @internal */
export const NOTHING_DONE: DriverResult = [
  Object.freeze({ affectedRows: 0, insertId: 0, changedRows: 0, info: '', warningStatus: 0, serverStatus: 2 }),
  undefined,
]

/** A checkout in the hands of a caller. @internal */
export class LeaseChannel implements Channel {
  readonly #lease: Lease
  readonly #onReleased: (channel: LeaseChannel) => void
  /** Both faces of a connection share it: what was asked first is done first. */
  readonly #turns: ChannelTurns
  #isReleased = false

  constructor(lease: Lease, onReleased: (channel: LeaseChannel) => void, turns = new ChannelTurns()) {
    this.#lease = lease
    this.#onReleased = onReleased
    this.#turns = turns
  }

  get host(): string {
    return this.#lease.node.name
  }

  get connection(): DriverConnection {
    return this.#lease.connection
  }

  run(method: 'query' | 'execute', statement: Statement): Promise<DriverResult> {
    return this.#inTurn(() => this.#run(method, statement))
  }

  stream(statement: Statement, sink: RowSink): Promise<DriverResult> {
    return this.#stream(statement, sink)
  }

  fill(statement: Statement, sink: RowSink): Promise<DriverResult> {
    if (this.#isReleased) return Promise.reject(new ClosedError('released connection'))
    return this.#turns.fill(sink, () => this.#stream(statement, sink))
  }

  async #run(method: 'query' | 'execute', { driver, limits }: Statement): Promise<DriverResult> {
    // ORMs roll back by a statement, and an error of that would hide why the transaction has failed.
    if (isRollback(driver.sql)) return this.#rollBack(() => this.#lease.run(method, driver, limits))
    if (isCommit(driver.sql) && this.#lease.isInTransaction) return commit(this.#lease, limits)
    return this.#judged(driver.sql, () => this.#lease.run(method, driver, limits))
  }

  #stream({ driver, limits }: Statement, sink: RowSink): Promise<DriverResult> {
    return this.#judged(driver.sql, () => this.#lease.stream(driver, sink, limits))
  }

  async begin(): Promise<void> {
    await this.run('query', toStatement('START TRANSACTION'))
  }

  async commit(limits: WaitOptions = {}): Promise<void> {
    await this.#inTurn(() => commit(this.#lease, limits))
  }

  async rollback(): Promise<void> {
    await this.run('query', toStatement('ROLLBACK'))
  }

  control(start: (connection: DriverConnection) => Promise<DriverResult>, isNewSession = false): Promise<DriverResult> {
    return this.#inTurn(() => this.#lease.control(start, isNewSession))
  }

  /** What it was asked before is done first, as with mysql2; what it is asked from now on is refused. */
  release(): void {
    if (!this.refuse()) return
    if (this.#turns.isIdle) this.#giveBack()
    else void this.#turns.idle().then(() => this.#giveBack())
  }

  destroy(error: Error): void {
    if (this.#isReleased) return
    this.#lease.cut(error)
    this.release()
  }

  /** Refuses what it is asked from now on. False when it did so before. */
  protected refuse(): boolean {
    if (this.#isReleased) return false
    this.#isReleased = true
    return true
  }

  #giveBack(): void {
    this.#lease.release()
    this.#onReleased(this)
  }

  #inTurn<R>(task: () => Promise<R>): Promise<R> {
    if (this.#isReleased) return Promise.reject(new ClosedError('released connection'))
    return this.#turns.run(task)
  }

  async #rollBack(send: () => Promise<DriverResult>): Promise<DriverResult> {
    if (this.connection.lost !== undefined) return NOTHING_DONE
    try {
      return await send()
    } catch (error) {
      if (classify(error).outcome !== 'lost') throw error
      return NOTHING_DONE
    }
  }

  async #judged<R>(sql: string, send: () => Promise<R>): Promise<R> {
    const wasInTransaction = this.#lease.isInTransaction
    try {
      return await send()
    } catch (error) {
      throw withOutcome(error, this.#lease, sql, wasInTransaction)
    }
  }
}
