import { ClosedError, ConnectionLostError, TimeoutError, toError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { abortReason, now, sleep } from '../core/timing.js'
import { classify } from './classify.js'
import type { DriverConnection, DriverResult, DriverStatement } from './driver.js'
import type { Node } from './node.js'
import type { Session } from './session.js'

/** How long a transaction left open may take to roll back at release before its connection is replaced instead. */
const ROLLBACK_LIMIT_MS = 1000

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

  /** Sends one statement. Rejects with the server's error, or with why the connection was lost or given up. */
  async run(method: 'query' | 'execute', statement: DriverStatement, limits: WaitOptions = {}): Promise<DriverResult> {
    if (this.#isReleased) throw new ClosedError('released connection')
    if (limits.signal?.aborted === true) throw abortReason(limits.signal)
    const { lost } = this.#session.connection
    if (lost !== undefined) {
      throw new ConnectionLostError(this.node.name, `nothing was sent: ${lost.message}`, {
        cause: lost,
        safeToRetry: true,
      })
    }
    return this.#send(method, statement, limits)
  }

  /** Ends the connection at once; what runs on it rejects with `error`. */
  cut(error: Error): void {
    this.#session.spoil()
    this.#session.connection.cut(error)
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

  async #send(method: 'query' | 'execute', statement: DriverStatement, limits: WaitOptions): Promise<DriverResult> {
    this.#running += 1
    const call = this.node.calls.start()
    try {
      const work = this.#session.connection.run(method, statement)
      const result = await waitWithin(
        work,
        limits,
        (elapsedMs) => this.#late(elapsedMs),
        (reason) => this.cut(reason),
      )
      this.#session.noteResult(result)
      return result
    } catch (error) {
      this.#session.noteError(error, statement.sql)
      // A privilege that one statement lacks says nothing about the node.
      if (classify(error).node !== 'misconfigured') this.node.noteError(error)
      throw error
    } finally {
      this.#running -= 1
      this.node.calls.end(call)
    }
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

  #late(elapsedMs: number): Error {
    return new TimeoutError('operation', elapsedMs, `statement on ${this.node.name}`)
  }
}

/** Waits until every lease is released, for `limitMs` at most; true when they were. @internal */
export async function releasedWithin(
  leases: ReadonlySet<Lease>,
  limitMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const deadline = now() + limitMs
  while (leases.size > 0 && now() < deadline) await sleep(Math.min(5, limitMs), signal)
  return leases.size === 0
}
