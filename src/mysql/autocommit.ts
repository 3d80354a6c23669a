import { TimeoutError } from '../core/errors.js'
import { remaining, type WaitOptions } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import { classify } from './classify.js'
import { wasNotSent, withOutcome } from './outcome.js'
import type { DriverResult, DriverStatement } from './driver.js'
import type { Role } from './gate.js'
import type { Lease } from './lease.js'
import type { QueryResult } from './result.js'
import { rowStream, type RowSink, type RowStream } from './row-stream.js'
import {
  isPlainRead,
  isProvablyRead,
  isSingleStatement,
  toStatement,
  type ReadOptions,
  type Statement,
  type StreamOptions,
} from './statement.js'

/** What {@link Autocommit} needs of the pool. @internal */
export interface AutocommitHost {
  /** Throws when the pool takes no more work. */
  readonly assertTaken: () => void
  readonly acquire: (role: Role, limits: WaitOptions) => Lease | Promise<Lease>
  /** Told when nothing runs any more. */
  readonly onIdle: () => void
  /** False when repeating is pointless. */
  readonly mayRepeat: (attempt: number) => boolean
}

type Send<R> = (lease: Lease, statement: DriverStatement, limits: WaitOptions) => Promise<R>

/** How one statement is run. */
interface Run<R> {
  readonly limits: WaitOptions
  readonly isCausal: boolean
  /** True when its answer was lost and it may be asked again. */
  readonly isRepeatable: () => boolean
  readonly send: Send<R>
  /** Ends the wait for a connection. */
  readonly left?: AbortSignal
}

/** Single statements outside of transactions: each on a connection of its own, repeated when that is harmless. @internal */
export class Autocommit {
  readonly #host: AutocommitHost
  #running = 0

  constructor(host: AutocommitHost) {
    this.#host = host
  }

  /** True while statements run, also between two attempts of one. */
  get isBusy(): boolean {
    return this.#running > 0
  }

  async statement<T>(
    role: Role,
    method: 'query' | 'execute',
    sql: string | ReadOptions,
    values: unknown,
  ): Promise<QueryResult<T>> {
    return this.run(role, method, toStatement(sql, values)) as Promise<unknown> as Promise<QueryResult<T>>
  }

  stream<T>(role: Role, sql: string | (ReadOptions & StreamOptions), values: unknown): RowStream<T> {
    const statement = toStatement(sql, values)
    return rowStream<T>((sink) => this.fill(role, statement, sink), statement.highWaterMark)
  }

  run(role: Role, method: 'query' | 'execute', { driver, limits, isCausal }: Statement): Promise<DriverResult> {
    const send: Send<DriverResult> = (lease, statement, left) => lease.run(method, statement, left)
    const isRepeatable = (): boolean => isRead(role, driver.sql)
    return this.#run(role, driver, { limits, isCausal, isRepeatable, send })
  }

  /** Puts the rows into `sink`; resolves to the header of a statement without rows. */
  fill(role: Role, { driver, limits, isCausal }: Statement, sink: RowSink): Promise<DriverResult> {
    const send: Send<DriverResult> = (lease, statement, left) => lease.stream(statement, sink, left)
    const isRepeatable = (): boolean => !sink.hasTaken && isRead(role, driver.sql)
    return this.#run(role, driver, { limits, isCausal, isRepeatable, send, left: sink.left })
  }

  async #run<R>(role: Role, statement: DriverStatement, how: Run<R>): Promise<R> {
    this.#host.assertTaken()
    this.#running += 1
    try {
      return await this.#repeat(role, statement, how)
    } finally {
      this.#running -= 1
      if (this.#running === 0) this.#host.onIdle()
    }
  }

  async #repeat<R>(role: Role, statement: DriverStatement, how: Run<R>): Promise<R> {
    const { limits, isCausal, isRepeatable, send, left } = how
    const startedAt = now()
    for (let attempt = 1, at = role; ; attempt += 1) {
      const wait = remaining(limits, startedAt)
      const lease = await this.#host.acquire(at, left === undefined ? wait : withSignal(wait, left))
      try {
        const sent = isCausal && at === 'read' ? causal(statement, lease) : statement
        if (sent !== undefined) return await send(lease, sent, remaining(limits, startedAt))
        at = 'write'
      } catch (error) {
        if (!this.#mayRepeat(error, attempt, statement.sql, isRepeatable))
          throw withOutcome(error, lease, statement.sql)
      } finally {
        lease.release()
      }
    }
  }

  #mayRepeat(error: unknown, attempt: number, sql: string, isRepeatable: () => boolean): boolean {
    if (error instanceof TimeoutError || !this.#host.mayRepeat(attempt)) return false
    if (wasNotSent(error)) return true
    const { outcome, node } = classify(error)
    if (outcome === 'notExecuted') return node !== 'misconfigured' && isSingleStatement(sql)
    return outcome === 'lost' && isRepeatable()
  }
}

function isRead(role: Role, sql: string): boolean {
  return role === 'write' ? isProvablyRead(sql) : isPlainRead(sql)
}

/** In one round trip, with MariaDB; elsewhere there is none, and only the writer surely has what this client wrote. */
function causal(statement: DriverStatement, { node, connection }: Lease): DriverStatement | undefined {
  if (node.report?.isGalera !== true) return statement
  if (!connection.isMariaDb) return undefined
  return { ...statement, sql: `SET STATEMENT wsrep_sync_wait = 1 FOR ${statement.sql}` }
}

function withSignal({ timeoutMs, signal }: WaitOptions, left: AbortSignal): WaitOptions {
  return { timeoutMs, signal: signal === undefined ? left : AbortSignal.any([signal, left]) }
}
