import { backoffDelay } from '../core/backoff.js'
import { TimeoutError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { now, sleep } from '../core/timing.js'
import type { CasToken, Lease } from './commands.js'

/** Makes a value that the cache has not. The signal is aborted when it takes too long. */
export type Load<T> = (options: { readonly signal: AbortSignal }) => Promise<T> | T

/** What a {@link Loader} asks the cache for one key. @internal */
export interface LoadedKey {
  readonly key: string
  /** Longest duration of one load. */
  readonly loadTimeoutMs: number
  lease(): Promise<Lease>
  /** Stores what was loaded by the owner of `token`, or, without one, where nothing is stored. False when it is not. */
  store(value: unknown, token: CasToken | undefined): Promise<boolean>
  /** Lets somebody else load. */
  revoke(lease: Lease, token: CasToken): Promise<unknown>
}

interface RunningLoad {
  readonly promise: Promise<unknown>
  /** Of the placeholder or the value that it replaces; 0 when the server gives no leases. */
  readonly cas: number
}

/** Pauses of a caller that waits for another process to load. */
const POLL = { initialMs: 10, factor: 1.5, maxMs: 200 }
/** A server counts a time to live in whole seconds, of which the first is cut short. */
const LEASE_MARGIN_MS = 1000

/** How long a lease lives, in seconds: longer than the load may take. @internal */
export function leaseSeconds(loadTimeoutMs: number): number {
  return Math.ceil((loadTimeoutMs + LEASE_MARGIN_MS) / 1000)
}

/**
 * Loads values that the cache has not, each by one caller only: of the whole fleet where the server gives leases, of
 * this process elsewhere.
 * @internal
 */
export class Loader {
  readonly #running = new Map<string, RunningLoad>()
  readonly #closing = new AbortController()

  /** The value under the key, from the cache, from the load of somebody else, or from `load`. */
  get(what: LoadedKey, load: Load<unknown>, signal: AbortSignal | undefined): Promise<unknown> {
    return waitWithin(this.#get(what, load, signal), { signal: this.#closing.signal }, never)
  }

  /** Rejects everybody who waits, and tells every load that nobody does. */
  close(reason: Error): void {
    this.#closing.abort(reason)
  }

  async #get(what: LoadedKey, load: Load<unknown>, signal: AbortSignal | undefined): Promise<unknown> {
    const startedAt = now()
    const patienceMs = leaseSeconds(what.loadTimeoutMs) * 1000 + LEASE_MARGIN_MS
    for (let attempt = 1; ; attempt += 1) {
      const lease = await what.lease()
      if (lease.value !== undefined && lease.token === undefined) return lease.value
      if (lease.token !== undefined) return this.#load(what, load, lease)
      const running = this.#running.get(what.key)
      if (running !== undefined && (running.cas === lease.cas || !lease.isLeased)) return running.promise
      if (!lease.isLeased || now() - startedAt > patienceMs) return this.#load(what, load, lease)
      await sleep(backoffDelay(attempt, POLL), signal)
    }
  }

  /** A value that changed while it was loaded must not reach those who come later. */
  forget(key: string): void {
    this.#running.delete(key)
  }

  #load(what: LoadedKey, load: Load<unknown>, lease: Lease): Promise<unknown> {
    const promise = this.#run(what, load, lease, () => this.#running.get(what.key) === running).finally(() => {
      if (this.#running.get(what.key) === running) this.#running.delete(what.key)
    })
    const running: RunningLoad = { promise, cas: lease.cas }
    this.#running.set(what.key, running)
    return promise
  }

  async #run(what: LoadedKey, load: Load<unknown>, lease: Lease, isWanted: () => boolean): Promise<unknown> {
    const { token } = lease
    let isStored = false
    try {
      const value = await this.#bounded(load, what.loadTimeoutMs)
      const mayStore = token !== undefined || (isWanted() && !lease.isLeased)
      if (value !== undefined && mayStore) isStored = await what.store(value, token)
      return value
    } finally {
      // What is not stored is the caller's all the same, and somebody else may load.
      if (!isStored && token !== undefined) await what.revoke(lease, token)
    }
  }

  #bounded(load: Load<unknown>, timeoutMs: number): Promise<unknown> {
    const controller = new AbortController()
    // A microtask later, so that a load that throws at once rejects like any other.
    const work = Promise.resolve().then(() => load({ signal: controller.signal }))
    const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, 'load of a value for the cache')
    const limits = { timeoutMs, signal: this.#closing.signal }
    return waitWithin(work, limits, late, (reason) => controller.abort(reason))
  }
}

function never(): Error {
  return new Error('bug: no limit was given')
}
