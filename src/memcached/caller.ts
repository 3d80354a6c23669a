import { InvalidOptionError, NoEndpointError, TimeoutError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { Batch, BatchCall, manyOf, type BatchItem, type BatchKind, type ManyResult } from './batch.js'
import { DeleteCall, type SingleCall } from './calls.js'
import {
  CountCall,
  LeaseCall,
  RevokeCall,
  StoreCall,
  CasCall,
  type CasToken,
  type KeyOnWire,
  type Lease,
} from './commands.js'
import { ValueTooLargeError } from './errors.js'
import { leaseSeconds, type LoadedKey } from './loader.js'
import type { Membership } from './membership.js'
import { askForMany } from './multi-get.js'
import type { CacheNode } from './node.js'
import type { ResolvedMemcachedOptions } from './options.js'
import { checkLimits, readCount, readTtl, type CallOptions, type CountOptions, type LoadTimes } from './request.js'
import type { SetOptions } from './request.js'
import type { Router } from './router.js'
import { askServer } from './server-request.js'
import type { Payload } from './transport.js'
import { encodeCount, encodeValue, toExpiry } from './value.js'

const NO_LEASE: Lease = Object.freeze({ value: undefined, token: undefined, isLeased: false, cas: 0 })

/** What the methods of the client have in common: limits, values, and several requests that make one call. @internal */
export class Caller {
  readonly #options: ResolvedMemcachedOptions
  readonly #membership: Membership
  readonly #router: Router

  constructor(options: ResolvedMemcachedOptions, membership: Membership, router: Router) {
    this.#options = options
    this.#membership = membership
    this.#router = router
  }

  /** Sends a call and waits for it within the caller's limits. */
  start<T>(call: SingleCall<T>, options: CallOptions | undefined): Promise<T> {
    if (options === undefined) {
      this.#router.begin(call)
      return call.promise
    }
    call.hasOwnLimit = options.timeoutMs !== undefined
    this.#router.begin(call)
    return this.within(call.promise, options, () => (call.isAbandoned = true))
  }

  /** {@link Caller.start} for a call that may find nothing when no node is usable. */
  read<T>(call: SingleCall<T>, options: CallOptions | undefined): Promise<T | undefined> {
    const work: Promise<T | undefined> = this.start(call, options)
    return this.#options.missWhenUnavailable ? work.catch(missWhenNoEndpoint) : work
  }

  within<T>(work: Promise<T>, options: CallOptions | undefined, onAbandoned: () => void): Promise<T> {
    if (options?.timeoutMs === undefined && options?.signal === undefined) return work
    const { timeoutMs, signal } = options
    return waitWithin(work, { timeoutMs, signal }, tooLate, onAbandoned)
  }

  /** The value as it is stored; it may be too large. */
  encode(value: unknown, options: SetOptions | undefined): Payload {
    const ttlSeconds = readTtl(options?.ttlSeconds, this.#options.ttlSeconds)
    return encodeValue(value, ttlSeconds, this.#options.compressFromBytes)
  }

  isTooLarge({ size }: Payload): boolean {
    return size > this.#options.maxValueBytes
  }

  /** Rejects, after the old value is gone: the caller believes that it is. */
  async refuse(item: KeyOnWire, payload: Payload, options: CallOptions | undefined): Promise<never> {
    const cause = await this.start(new DeleteCall(this.#router, item.key, item.hash), options).then(
      () => undefined,
      (error: unknown) => error,
    )
    throw this.#tooLarge(payload, cause)
  }

  /** The values of many keys. */
  getMany(keys: Iterable<string>, options: CallOptions | undefined): Promise<ManyResult<unknown>> {
    const batch = new Batch<unknown>(options?.timeoutMs !== undefined)
    askForMany(keys, this.#options, this.#router, batch)
    return resultOf(batch, options)
  }

  /** One request for each key; `itemOf` throws for what no call can be made of. */
  many<T>(
    keys: readonly string[],
    options: CallOptions | undefined,
    kind: BatchKind<T>,
    itemOf: (given: string) => BatchItem,
  ): Promise<ManyResult<T>> {
    const batch = new Batch<T>(options?.timeoutMs !== undefined)
    const calls: BatchCall<T>[] = []
    for (const given of keys) {
      const item = itemOf(given)
      if (item.payload === undefined || !this.isTooLarge(item.payload)) {
        calls.push(new BatchCall(this.#router, item, kind, batch))
      } else batch.refuse(given, this.#refuseOne(item, item.payload))
    }
    for (const call of calls) call.begin()
    batch.complete()
    return resultOf(batch, options)
  }

  /** Stores under a condition. */
  store(
    kind: 'add' | 'replace' | 'append' | 'prepend',
    item: KeyOnWire,
    payload: Payload,
    options: CallOptions | undefined,
  ): Promise<boolean> {
    if (this.isTooLarge(payload)) return this.refuse(item, payload, options)
    return this.start(new StoreCall(this.#router, kind, item, payload), options)
  }

  /** What is put to a stored value, as it is. */
  addition(value: unknown): Payload {
    if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
      throw new InvalidOptionError('value', 'must be a string or a Buffer')
    }
    if (this.#options.compressFromBytes !== Infinity) {
      throw new InvalidOptionError('value', 'cannot be added to another with compressFromBytes: that may be compressed')
    }
    return encodeValue(value, 0)
  }

  /** Counts, and begins to count where `initial` is given. */
  async count(
    kind: 'increment' | 'decrement',
    item: KeyOnWire,
    delta: number | bigint,
    options: CountOptions | undefined,
  ): Promise<bigint | undefined> {
    const by = readCount('delta', delta)
    const initial = options?.initial === undefined ? undefined : readCount('initial', options.initial)
    const ttlSeconds = readTtl(options?.ttlSeconds, this.#options.ttlSeconds)
    const step = async (): Promise<bigint | undefined> => {
      const count = await this.start(new CountCall(this.#router, kind, item, by), options)
      if (count !== undefined || initial === undefined) return count
      const payload = encodeCount(initial, ttlSeconds)
      const isFirst = await this.start(new StoreCall(this.#router, 'add', item, payload), options)
      return isFirst ? initial : this.start(new CountCall(this.#router, kind, item, by), options)
    }
    return this.within(step(), options, () => undefined)
  }

  /** What {@link Loader} needs to know of one key. */
  loadedKey(item: KeyOnWire, { ttlSeconds, staleSeconds, loadTimeoutMs }: LoadTimes): LoadedKey {
    const terms = { leaseSeconds: leaseSeconds(loadTimeoutMs), staleSeconds: toExpiry(staleSeconds) }
    return {
      key: item.key,
      loadTimeoutMs,
      lease: async () => (await this.read(new LeaseCall(this.#router, item, terms), undefined)) ?? NO_LEASE,
      store: async (value, token) => {
        const lifeSeconds = token === undefined ? ttlSeconds : ttlSeconds + staleSeconds
        const payload = this.encode(value, { ttlSeconds: lifeSeconds })
        return !this.isTooLarge(payload) && this.#keep(item, payload, token)
      },
      revoke: async (lease, token) => {
        // An error here is that of the node, whose lease ends by itself.
        const what = { value: lease.value, token }
        await this.start(new RevokeCall(this.#router, item, what), undefined).catch(() => undefined)
      },
    }
  }

  /** Asks all servers in use, each for itself. */
  async everywhere<T>(
    kind: 'flush' | 'version' | 'stats',
    options: CallOptions | undefined,
    read: (text: string, node: CacheNode) => T,
  ): Promise<ManyResult<T>> {
    const found = new Map<string, T>()
    const failed = new Map<string, Error>()
    const nodes = this.#membership.members.filter(({ state }) => state === 'live' || state === 'connecting')
    if (nodes.length === 0) throw this.#router.noEndpoint()
    const asked = nodes.map((node) =>
      askServer(node, kind).then(
        (text) => found.set(node.name, read(text, node)),
        (error: unknown) => failed.set(node.name, error as Error),
      ),
    )
    this.#router.began()
    const all = Promise.all(asked).finally(() => this.#router.ended())
    await this.within(all, options, () => undefined)
    return manyOf(found, failed)
  }

  /** {@link Caller.refuse} for one of several. */
  #refuseOne({ key, hash }: KeyOnWire, payload: Payload): Error {
    this.start(new DeleteCall(this.#router, key, hash), undefined).catch(() => undefined)
    return this.#tooLarge(payload)
  }

  #tooLarge({ size }: Payload, cause?: unknown): Error {
    return new ValueTooLargeError(`${size} bytes, the limit is ${this.#options.maxValueBytes}`, cause)
  }

  /** True when what was loaded is stored now. */
  #keep(item: KeyOnWire, payload: Payload, token: CasToken | undefined): Promise<boolean> {
    const call =
      token === undefined
        ? new StoreCall(this.#router, 'add', item, payload)
        : new CasCall(this.#router, item, payload, token)
    return this.start(call, undefined).catch(() => false)
  }
}

/** Throws for a caller that is not ready to go. @internal */
export function checkCaller(options: CallOptions | undefined): void {
  if (options !== undefined) checkLimits(options)
}

/** What a batch has when it ends, or its caller's limit does: that ends the wait for what is missing, and not the call. */
function resultOf<T>(batch: Batch<T>, options: CallOptions | undefined): Promise<ManyResult<T>> {
  if (options?.timeoutMs === undefined && options?.signal === undefined) return batch.promise
  const { timeoutMs, signal } = options
  const late = (elapsedMs: number): Error => {
    batch.expire(tooLate(elapsedMs))
    return tooLate(elapsedMs)
  }
  const limited = waitWithin(batch.promise, { timeoutMs, signal }, late, (reason) => batch.expire(reason))
  return limited.catch((error: unknown) => {
    if (error instanceof TimeoutError) return batch.promise
    throw error
  })
}

function tooLate(elapsedMs: number): Error {
  return new TimeoutError('operation', elapsedMs, 'memcached')
}

function missWhenNoEndpoint(error: unknown): undefined {
  if (!(error instanceof NoEndpointError)) throw error
}
