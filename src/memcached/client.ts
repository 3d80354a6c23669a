import { Client } from '../core/client.js'
import { InvalidOptionError, TimeoutError, type ClosedError } from '../core/errors.js'
import type { CommonEvents } from '../core/events.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { abortReason } from '../core/timing.js'
import { Batch, DeleteCall, GetCall, SetCall, type SingleCall } from './calls.js'
import { ValueTooLargeError } from './errors.js'
import { wireKey } from './key.js'
import { md5Point } from './md5.js'
import { Membership } from './membership.js'
import { MAX_TTL_SECONDS, type ResolvedMemcachedOptions } from './options.js'
import { Router } from './router.js'
import { nodeStatus, type MemcachedStatus } from './status.js'
import type { TransportFactory } from './transport.js'
import { encodeValue } from './value.js'

/** What every method takes; see {@link MemcachedClient} for what holds without. */
export type CallOptions = WaitOptions

/** Options of {@link MemcachedClient.set}. */
export interface SetOptions extends CallOptions {
  /** Time to live; 0 is for ever. @default the client's `ttlSeconds` */
  readonly ttlSeconds?: number | undefined
}

/** A cache over several memcached nodes, each key on one of them; made by {@link createClient}.
 *
 * When the node of a key fails, the call that meets this is answered by the heir, the next node in the ring: without an
 * error, within `operationTimeoutMs`. When the node returns, no value is read from it that is older than one this
 * client wrote or read elsewhere meanwhile; such a value is a miss.
 *
 * Every method rejects with `NoEndpointError` when no node is usable, with `ClosedError` after `close()`, with
 * `TimeoutError` when `timeoutMs` runs out, and with the signal's reason when it is aborted. Without a `timeoutMs` a
 * call ends after three nodes that stay silent for `operationTimeoutMs` each (750 ms).
 */
export class MemcachedClient extends Client<CommonEvents> {
  readonly #options: ResolvedMemcachedOptions
  readonly #membership: Membership
  readonly #router: Router

  /** @internal */
  constructor(options: ResolvedMemcachedOptions, openTransport: TransportFactory) {
    super('memcached', 'memcached client')
    this.#options = options
    this.#membership = new Membership(options, openTransport, {
      onChange: () => this.#onMembershipChange(),
      onHostUp: (host) => this.report('hostUp', { host, cause: undefined }),
      onHostDown: (host, cause) => this.report('hostDown', { host, cause }),
      onFailover: (event) => this.reportFailover(event),
    })
    this.#router = new Router(this.#membership, options.rejoin)
    for (const node of this.#membership.nodes) node.start()
  }

  /**
   * The value under `key`, or `undefined` when there is none.
   *
   * Strings, Buffers and JSON come back as what they were; text and numbers stored by pymemcache as strings and
   * numbers, and what another client marked in a way of its own as a Buffer. The type `T` is the caller's claim.
   */

  get<T = unknown>(key: string, options?: CallOptions): Promise<T | undefined> {
    try {
      this.#check(options)
      const wire = wireKey(key, this.#options)
      return this.#start(new GetCall(this.#router, wire, md5Point(wire)), options) as Promise<T | undefined>
    } catch (error) {
      return rejected(error)
    }
  }

  /**
   * The values under `keys`, without those that there are none for.
   *
   * Each node gets its share in one write, and one time limit holds for all. The map has the keys as they were given.
   * Rejects when one of them cannot be answered for by any node.
   */

  getMany<T = unknown>(keys: Iterable<string>, options?: CallOptions): Promise<Map<string, T>> {
    try {
      this.#check(options)
      const wanted = [...new Set(keys)].map((given) => {
        const key = wireKey(given, this.#options)
        return { given, key, hash: md5Point(key) }
      })
      const batch = new Batch(this.#router, wanted)
      batch.hasOwnLimit = options?.timeoutMs !== undefined
      batch.begin(this.#router)
      return this.#within(batch.promise, options, () => batch.abandon()) as Promise<Map<string, T>>
    } catch (error) {
      return rejected(error)
    }
  }

  /**
   * Stores a string, a Buffer (any `Uint8Array`), or anything that JSON can express.
   *
   * Rejects with `ValueTooLargeError` above `maxValueBytes`, after deleting what was stored under the key. A rejected
   * call may have stored the value all the same, unless the error's `safeToRetry` is true. A Buffer must not be
   * changed before the promise settles.
   */
  set(key: string, value: unknown, options?: SetOptions): Promise<void> {
    try {
      this.#check(options)
      const wire = wireKey(key, this.#options)
      const ttlSeconds = options?.ttlSeconds ?? this.#options.ttlSeconds
      if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 0 || ttlSeconds > MAX_TTL_SECONDS) {
        throw new InvalidOptionError('ttlSeconds', `must be a whole number from 0 to ${MAX_TTL_SECONDS}`)
      }
      const payload = encodeValue(value, ttlSeconds)
      if (payload.size > this.#options.maxValueBytes) return this.#refuse(wire, payload.size, options)
      return this.#start(new SetCall(this.#router, wire, md5Point(wire), payload), options)
    } catch (error) {
      return rejected(error)
    }
  }

  /** Deletes the value under `key`; true when there was one. It holds also on a node that is away and returns. */
  delete(key: string, options?: CallOptions): Promise<boolean> {
    try {
      this.#check(options)
      const wire = wireKey(key, this.#options)
      return this.#start(new DeleteCall(this.#router, wire, md5Point(wire)), options)
    } catch (error) {
      return rejected(error)
    }
  }

  /** What the client knows and has counted, as a frozen snapshot. */
  status(): MemcachedStatus {
    return Object.freeze({
      state: this.state,
      hosts: Object.freeze(this.#membership.nodes.map(nodeStatus)),
      ...this.#router.counters,
      evictionCount: this.#membership.evictionCount,
      availability: this.availability(),
      maxFailoverMs: this.#options.operationTimeoutMs,
    })
  }

  protected whyUnusable(): Error {
    return this.#router.noEndpoint()
  }

  protected drain(): Promise<void> {
    return this.#router.whenIdle()
  }

  protected teardown(reason: ClosedError): void {
    this.#router.close(reason)
    for (const node of this.#membership.nodes) node.stop(reason)
  }

  /** The caller believes that the old value is gone; so it must be. */
  async #refuse(wire: string, size: number, options: CallOptions | undefined): Promise<never> {
    const cause = await this.#start(new DeleteCall(this.#router, wire, md5Point(wire)), options).then(
      () => undefined,
      (error: unknown) => error,
    )
    throw new ValueTooLargeError(`${size} bytes, the limit is ${this.#options.maxValueBytes}`, cause)
  }

  #onMembershipChange(): void {
    const usable = this.#membership.hasLiveNode
    this.setUsable(usable, usable ? undefined : this.#router.noEndpoint())
  }

  #start<T>(call: SingleCall<T>, options: CallOptions | undefined): Promise<T> {
    call.hasOwnLimit = options?.timeoutMs !== undefined
    this.#router.begin(call)
    return this.#within(call.promise, options, () => (call.isAbandoned = true))
  }

  #within<T>(work: Promise<T>, options: CallOptions | undefined, onAbandoned: () => void): Promise<T> {
    if (options?.timeoutMs === undefined && options?.signal === undefined) return work
    const { timeoutMs, signal } = options
    const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, 'memcached')
    return waitWithin(work, { timeoutMs, signal }, late, onAbandoned)
  }

  /** Throws for a client or a caller that is not ready to go. */
  #check(options: CallOptions | undefined): void {
    this.assertOpen()
    if (options === undefined) return
    const { timeoutMs, signal } = options
    if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs > 0 && timeoutMs <= 2 ** 31 - 1)) {
      throw new InvalidOptionError('timeoutMs', 'must be a number of milliseconds above 0')
    }
    if (signal?.aborted === true) throw abortReason(signal)
  }
}

function rejected(error: unknown): Promise<never> {
  return Promise.reject(error)
}
