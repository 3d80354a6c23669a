import { AsyncLocalStorage } from 'node:async_hooks'
import { ConnectionLostError, InvalidOptionError, TimeoutError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import type { Lease } from './lease.js'
import type { ResolvedMysqlPoolOptions } from './options.js'
import type { Transaction } from './transaction.js'

interface Scope {
  readonly tx: Transaction
  /** Connections that this transaction and those around it hold. */
  readonly depth: number
}

/**
 * Checkouts that the function of a transaction asks for beside its own connection.
 *
 * They go to the node of the transaction or fail: with another writer the function's work would lie on two nodes, of
 * which one is left. @internal
 */
export class Nesting {
  readonly #scopes: AsyncLocalStorage<Scope> | undefined
  readonly #connectionLimit: number

  constructor(options: Pick<ResolvedMysqlPoolOptions, 'connectionLimit' | 'followTransactions'>) {
    this.#connectionLimit = options.connectionLimit
    if (options.followTransactions) this.#scopes = new AsyncLocalStorage()
  }

  /** True within the function of a transaction. */
  get isInside(): boolean {
    return this.#current() !== undefined
  }

  /** Runs the function of a transaction, so that its checkouts are known by their asynchronous context. */
  run<T>(tx: Transaction, body: (tx: Transaction) => Promise<T>): Promise<T> {
    if (this.#scopes === undefined) return body(tx)
    const depth = (this.#current()?.depth ?? 0) + 1
    return this.#scopes.run({ tx, depth }, () => body(tx))
  }

  /** Checks a writer connection out, by `acquire`, for whoever asks. */
  checkOut(acquire: (limits: WaitOptions) => Lease | Promise<Lease>, limits: WaitOptions): Lease | Promise<Lease> {
    const scope = this.#current()
    return scope === undefined ? acquire(limits) : this.#checkOutBeside(scope, acquire, limits)
  }

  /** What is left running when the function has ended is nobody's part. */
  #current(): Scope | undefined {
    const scope = this.#scopes?.getStore()
    return scope?.tx.isOver === false ? scope : undefined
  }

  async #checkOutBeside(
    { tx, depth }: Scope,
    acquire: (limits: WaitOptions) => Lease | Promise<Lease>,
    limits: WaitOptions,
  ): Promise<Lease> {
    if (depth >= this.#connectionLimit) {
      const held = `is ${this.#connectionLimit}, and the transactions that ask for one more connection hold as many`
      throw new InvalidOptionError('connectionLimit', `${held}: use the transaction's own, or raise it`)
    }
    this.#assertOnItsWriter(tx, tx.host)
    const startedAt = now()
    const signal = limits.signal === undefined ? tx.signal : AbortSignal.any([limits.signal, tx.signal])
    const lease = await Promise.resolve(acquire({ timeoutMs: limits.timeoutMs, signal })).catch((error: unknown) => {
      if (!(error instanceof TimeoutError)) throw error
      const why = 'asked for inside a transaction, which holds a connection meanwhile: more of them wait for each other'
      throw new TimeoutError('acquire', now() - startedAt, why, error)
    })
    try {
      this.#assertOnItsWriter(tx, lease.node.name)
    } catch (error) {
      lease.release()
      throw error
    }
    return lease
  }

  #assertOnItsWriter(tx: Transaction, host: string): void {
    if (host === tx.host && !tx.isLost) return
    const error = new ConnectionLostError(tx.host, 'the writer changed while a transaction ran on it', {
      safeToRetry: true,
    })
    tx.fail(error)
    throw error
  }
}
