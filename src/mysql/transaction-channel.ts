import { TransactionEndedError } from './errors.js'
import type { Channel } from './channel.js'
import { ChannelTurns } from './channel-turns.js'
import type { DriverConnection, DriverResult } from './driver.js'
import type { Lease } from './lease.js'
import { NOTHING_DONE } from './lease-channel.js'
import type { RowSink } from './row-stream.js'
import { isBegin, isCommit, isRollback, isRollbackTo, type Statement } from './statement.js'
import type { Transaction } from './transaction.js'

/**
 * The connection of a running transaction in the hands of an ORM, which thinks that the transaction is its own.
 *
 * Its BEGIN and its COMMIT send nothing: the transaction has begun already, and it commits when the function has ended.
 * Its ROLLBACK ends the transaction. @internal
 */
export class TransactionChannel implements Channel {
  readonly #tx: Transaction
  readonly #lease: Lease
  readonly #turns = new ChannelTurns()
  #isCommitted = false

  constructor(tx: Transaction, lease: Lease) {
    this.#tx = tx
    this.#lease = lease
  }

  get host(): string {
    return this.#lease.node.name
  }

  get connection(): DriverConnection {
    return this.#lease.connection
  }

  run(method: 'query' | 'execute', statement: Statement): Promise<DriverResult> {
    return this.#turns.run(() => this.#run(method, statement))
  }

  async #run(method: 'query' | 'execute', statement: Statement): Promise<DriverResult> {
    const { sql } = statement.driver
    if (isBegin(sql)) return this.#begin()
    if (isCommit(sql)) return this.#commit()
    if (isRollback(sql)) return this.#rollBack()
    // The server has done that already, and an error here would hide the one that the ORM rolls back for.
    if (isRollbackTo(sql) && this.#tx.isRolledBackByServer) return NOTHING_DONE
    return this.#tx.run(method, statement)
  }

  stream(statement: Statement, sink: RowSink): Promise<DriverResult> {
    return this.#tx.fill(statement, sink)
  }

  fill(statement: Statement, sink: RowSink): Promise<DriverResult> {
    return this.#turns.fill(sink, () => this.#tx.fill(statement, sink))
  }

  async begin(): Promise<void> {
    await this.#turns.run(() => this.#begin())
  }

  async commit(): Promise<void> {
    await this.#turns.run(() => this.#commit())
  }

  async rollback(): Promise<void> {
    await this.#turns.run(() => this.#rollBack())
  }

  async control(
    start: (connection: DriverConnection) => Promise<DriverResult>,
    isNewSession = false,
  ): Promise<DriverResult> {
    if (isNewSession) throw new TransactionEndedError('its connection was to begin a new session, which was refused')
    return this.#turns.run(() => this.#lease.control(start, false))
  }

  /** The connection stays with the transaction. */
  release(): void {
    // Nothing: what asked for it has not checked it out.
  }

  /** Cuts the connection while it is the transaction's. */
  destroy(error: Error): void {
    if (!this.#tx.isOver) this.#lease.cut(error)
  }

  /** Resolves when what was asked until now has ended. */
  idle(): Promise<void> {
    return this.#turns.idle()
  }

  #begin(): Promise<DriverResult> {
    this.#isCommitted = false
    return Promise.resolve(NOTHING_DONE)
  }

  async #commit(): Promise<DriverResult> {
    // What was asked for before has to have ended well, or the ORM would tell of a commit that cannot be.
    await this.#tx.check()
    this.#isCommitted = true
    return NOTHING_DONE
  }

  async #rollBack(): Promise<DriverResult> {
    if (!this.#isCommitted) await this.#tx.rollBack()
    return NOTHING_DONE
  }
}
