import { Client } from '../core/client.js'
import { NoEndpointError, type ClosedError } from '../core/errors.js'
import type { CommonEvents } from '../core/events.js'
import type { WaitOptions } from '../core/time-limit.js'
import { DELETE_MANY, manyOf, SET_MANY, type ManyResult } from './batch.js'
import { Caller, checkCaller } from './caller.js'
import { DeleteCall, GetCall, SetCall } from './calls.js'
import {
  CasCall,
  GetAndTouchCall,
  GetsCall,
  TouchCall,
  type CasToken,
  type KeyOnWire,
  type ValueWithToken,
} from './commands.js'
import { AuthenticationError } from './errors.js'
import { wireKey } from './key.js'
import { Loader, type Load } from './loader.js'
import { md5Point } from './md5.js'
import { Membership } from './membership.js'
import { checkServers, type ResolvedMemcachedOptions } from './options.js'
import {
  keyOnWire,
  readLoadTimes,
  readTtl,
  type CallOptions,
  type CountOptions,
  type LoadOptions,
  type SetOptions,
} from './request.js'
import { Router } from './router.js'
import { parseServers, type ServerOptions } from './server-address.js'
import { parseStats } from './server-request.js'
import { clientStatus, type MemcachedStatus } from './status.js'
import type { TransportFactory } from './transport.js'
import { toExpiry } from './value.js'

/** A cache over several memcached nodes, each key on one of them; made by {@link createClient}.
 *
 * When the node of a key fails, the call that meets this is answered by the heir, the next node in the ring: without an
 * error, within `operationTimeoutMs`. When the node returns, no value is read from it that is older than one this
 * client wrote or read elsewhere meanwhile; such a value is a miss.
 *
 * Every method rejects with `NoEndpointError` when no node is usable, with `ClosedError` after `close()`, with
 * `TimeoutError` when `timeoutMs` runs out, with the signal's reason when it is aborted, and with `ServerBusyError` when
 * a node has no memory or no room for the request. Without a `timeoutMs` a call ends after three nodes that stay
 * silent for `operationTimeoutMs` each (750 ms).
 */
export class MemcachedClient extends Client<CommonEvents> {
  readonly #options: ResolvedMemcachedOptions
  readonly #membership: Membership
  readonly #router: Router
  readonly #caller: Caller
  readonly #loader = new Loader()

  /** @internal */
  constructor(options: ResolvedMemcachedOptions, openTransport: TransportFactory) {
    super('memcached', 'memcached client')
    this.#options = options
    this.#membership = new Membership(options, openTransport, {
      onChange: () => this.#onMembershipChange(),
      onHostUp: (host) => this.report('hostUp', { host, cause: undefined }),
      onHostDown: (host, cause) => this.#onHostDown(host, cause),
      onFailover: (event) => this.reportFailover(event),
    })
    this.#router = new Router(this.#membership, options.rejoin)
    this.#caller = new Caller(options, this.#membership, this.#router)
    this.#membership.start()
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
      const call = new GetCall(this.#router, wire, md5Point(wire))
      return this.#caller.read(call, options) as Promise<T | undefined>
    } catch (error) {
      return rejected(error)
    }
  }

  /** The value under `key` with a token for {@link MemcachedClient.cas}, or `undefined` when there is none. */
  gets<T = unknown>(key: string, options?: CallOptions): Promise<ValueWithToken<T> | undefined> {
    return this.#for(key, options, (item) => this.#caller.read(new GetsCall(this.#router, item), options)) as Promise<
      ValueWithToken<T> | undefined
    >
  }

  /** The value under `key`, which gets a new time to live; `undefined` when there is none. */
  getAndTouch<T = unknown>(key: string, ttlSeconds: number, options?: CallOptions): Promise<T | undefined> {
    return this.#for(key, options, (item) => {
      const expiry = toExpiry(readTtl(ttlSeconds, 0))
      return this.#caller.read(new GetAndTouchCall(this.#router, item, expiry), options)
    }) as Promise<T | undefined>
  }

  /**
   * The values under `keys`, without those that there are none for.
   *
   * Each node gets its share in one turn, 50 keys to a request, and one time limit holds for all: what was found until
   * then is returned. The map has the keys as they were given; its `failed` names those that no answer came for, and
   * why. Rejects when all of them failed, or when the signal is aborted.
   */
  getMany<T = unknown>(keys: Iterable<string>, options?: CallOptions): Promise<ManyResult<T>> {
    try {
      this.#check(options)
      const many = this.#caller.getMany(keys, options) as Promise<ManyResult<T>>
      if (!this.#options.missWhenUnavailable) return many
      return many.catch((error: unknown) => {
        if (error instanceof NoEndpointError) return manyOf(new Map<string, T>())
        throw error
      })
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
      const payload = this.#caller.encode(value, options)
      this.#loader.forget(wire)
      const hash = md5Point(wire)
      if (this.#caller.isTooLarge(payload)) return this.#caller.refuse({ key: wire, hash }, payload, options)
      return this.#caller.start(new SetCall(this.#router, wire, hash, payload), options)
    } catch (error) {
      return rejected(error)
    }
  }

  /**
   * Stores several values with one time to live, each node's in one write. The result's `failed` names the keys whose
   * value may not be stored, and why; one that is too large is refused as by `set`. Rejects when all of them failed.
   */
  async setMany(
    values: ReadonlyMap<string, unknown> | Readonly<Record<string, unknown>>,
    options?: SetOptions,
  ): Promise<{ readonly failed: ReadonlyMap<string, Error> }> {
    this.#check(options)
    const entries = new Map(values instanceof Map ? values : Object.entries(values)) as ReadonlyMap<string, unknown>
    const { failed } = await this.#caller.many([...entries.keys()], options, SET_MANY, (given) => {
      const item = keyOnWire(given, this.#options)
      const payload = this.#caller.encode(entries.get(given), options)
      this.#loader.forget(item.key)
      return { given, ...item, payload }
    })
    return Object.freeze({ failed })
  }

  /** Stores a value where there is none; false when there is one. */
  add(key: string, value: unknown, options?: SetOptions): Promise<boolean> {
    return this.#for(key, options, (item) =>
      this.#caller.store('add', item, this.#caller.encode(value, options), options),
    )
  }

  /** Stores a value in the place of another; false when there is none. */
  replace(key: string, value: unknown, options?: SetOptions): Promise<boolean> {
    return this.#for(key, options, (item) => {
      this.#loader.forget(item.key)
      return this.#caller.store('replace', item, this.#caller.encode(value, options), options)
    })
  }

  /**
   * Puts a string or a Buffer behind a stored one, which keeps its time to live; false when there is none. Refused with
   * `compressFromBytes`: what may be compressed cannot be added to.
   */
  append(key: string, value: string | Uint8Array, options?: CallOptions): Promise<boolean> {
    return this.#for(key, options, (item) => this.#caller.store('append', item, this.#caller.addition(value), options))
  }

  /** {@link MemcachedClient.append}, in front of the stored value. */
  prepend(key: string, value: string | Uint8Array, options?: CallOptions): Promise<boolean> {
    return this.#for(key, options, (item) => this.#caller.store('prepend', item, this.#caller.addition(value), options))
  }

  /**
   * Stores a value if nobody has changed the stored one since `gets` gave the token; false when somebody has, or may
   * have because the key's node failed meanwhile.
   */
  cas(key: string, value: unknown, token: CasToken, options?: SetOptions): Promise<boolean> {
    return this.#for(key, options, (item) => {
      const payload = this.#caller.encode(value, options)
      if (this.#caller.isTooLarge(payload)) return this.#caller.refuse(item, payload, options)
      this.#loader.forget(item.key)
      return this.#caller.start(new CasCall(this.#router, item, payload, token), options)
    })
  }

  /** Deletes the value under `key`; true when there was one. It holds also on a node that is away and returns. */
  delete(key: string, options?: CallOptions): Promise<boolean> {
    try {
      this.#check(options)
      const wire = wireKey(key, this.#options)
      this.#loader.forget(wire)
      return this.#caller.start(new DeleteCall(this.#router, wire, md5Point(wire)), options)
    } catch (error) {
      return rejected(error)
    }
  }

  /** Deletes several values; tells for each key whether there was one. `failed` and rejections as of `getMany`. */
  async deleteMany(keys: Iterable<string>, options?: CallOptions): Promise<ManyResult<boolean>> {
    this.#check(options)
    return this.#caller.many([...new Set(keys)], options, DELETE_MANY, (given) => {
      const item = keyOnWire(given, this.#options)
      this.#loader.forget(item.key)
      return { given, ...item }
    })
  }

  /**
   * Adds to a counter, a stored whole number of 64 bits, and returns what it is then; it wraps at 2^64. Without a counter
   * `options.initial` is stored and returned, or nothing is and the result is `undefined`.
   *
   * Never done twice on one node. When its node fails it goes on with the heir, whose counter begins anew. Rejects with
   * `ProtocolError` when what is stored is no number.
   */
  increment(key: string, delta: number | bigint = 1, options?: CountOptions): Promise<bigint | undefined> {
    return this.#for(key, options, (item) => this.#caller.count('increment', item, delta, options))
  }

  /** {@link MemcachedClient.increment} downwards; it stops at 0. */
  decrement(key: string, delta: number | bigint = 1, options?: CountOptions): Promise<bigint | undefined> {
    return this.#for(key, options, (item) => this.#caller.count('decrement', item, delta, options))
  }

  /** Gives a stored value a new time to live; false when there is none. */
  touch(key: string, ttlSeconds: number, options?: CallOptions): Promise<boolean> {
    return this.#for(key, options, (item) =>
      this.#caller.start(new TouchCall(this.#router, item, toExpiry(readTtl(ttlSeconds, 0))), options),
    )
  }

  /**
   * The value under `key`; when there is none, what `load` makes, which is stored for `ttlSeconds`.
   *
   * One caller of the whole fleet loads. Others wait for it, or get the old value for up to `staleSeconds` after its time
   * to live. When the load fails or takes longer than `loadTimeoutMs`, those of the same process that wait for it get its
   * error, and the next one loads. A value that is deleted or set while it is loaded is not overwritten. With servers that
   * do not speak the meta protocol, one caller of each process loads, and `staleSeconds` has no effect.
   *
   * Rejects with what `load` rejects with. A value that is too large to be stored is returned all the same, and
   * `undefined` is not stored. While a value is loaded, clients of other kinds may read an empty one.
   */
  getOrSet<T>(key: string, load: Load<T>, options: LoadOptions = {}): Promise<T> {
    return this.#for(key, options, (item) => {
      const times = readLoadTimes(options, this.#options.ttlSeconds)
      this.#router.began()
      const work = this.#loader.get(this.#caller.loadedKey(item, times), load, options.signal)
      const ended = work.finally(() => this.#router.ended())
      return this.#caller.within(ended, options, () => undefined)
    }) as Promise<T>
  }

  /**
   * Empties all nodes: those in use now, and those that are out before they are used again. Rejects with the refusal of a
   * node that does not allow it (`memcached -F`).
   */
  async flush(options?: CallOptions): Promise<void> {
    this.#check(options)
    // One that fails meanwhile is no error: when it returns, all that it holds counts as old.
    for (const node of this.#membership.members) node.journal.overflow()
    const { failed } = await this.#caller.everywhere('flush', options, (_text, node) => node.journal.clear())
    for (const node of this.#membership.members) {
      const error = failed.get(node.name)
      if (error !== undefined && node.state === 'live') throw error
    }
  }

  /** What each node in use counts, by the names that memcached gives; `failed` names nodes that did not answer. */
  async stats(options?: CallOptions): Promise<ManyResult<Readonly<Record<string, string>>>> {
    this.#check(options)
    return this.#caller.everywhere('stats', options, parseStats)
  }

  /** The version of each node in use; `failed` names nodes that did not answer. */
  async version(options?: CallOptions): Promise<ManyResult<string>> {
    this.#check(options)
    return this.#caller.everywhere('version', options, (text) => text)
  }

  /**
   * Replaces the list of servers while the client runs. Keys of servers that stay do not move, except to a server that is
   * added. What an added server holds from before counts as misses, also one that was removed earlier. When no server
   * stays, calls are refused until one of the new ones is reached.
   *
   * Throws `InvalidOptionError` for a list that cannot work, which changes nothing.
   *
   * With `compat: 'libmemcached'`, or when a weight changes, keys may move between servers that stay: then all values
   * that are stored now count as misses.
   */
  setServers(servers: string | readonly (string | ServerOptions)[]): void {
    this.assertOpen()
    const list = typeof servers === 'string' ? servers.split(',').filter((part) => part.trim() !== '') : servers
    const parsed = parseServers(list, 'servers')
    checkServers(parsed, this.#options.compat, 'servers')
    this.#membership.setServers(parsed)
  }

  /** What the client knows and has counted, as a frozen snapshot. */
  status(): MemcachedStatus {
    return clientStatus({
      state: this.state,
      membership: this.#membership,
      counters: this.#router.counters,
      availability: this.availability(),
      maxFailoverMs: this.#options.operationTimeoutMs,
    })
  }

  /** As of every client; it rejects at once with `AuthenticationError` when all nodes have refused the password. */
  override async ready(options: WaitOptions = {}): Promise<void> {
    const refusal = this.#refusal()
    if (refusal !== undefined) throw refusal
    await super.ready(options)
  }

  protected whyUnusable(): Error {
    return this.#router.noEndpoint()
  }

  protected drain(): Promise<void> {
    return this.#router.whenIdle()
  }

  protected teardown(reason: ClosedError): void {
    this.#router.close(reason)
    this.#loader.close(reason)
    this.#membership.stop(reason)
  }

  #onHostDown(host: string, cause: Error): void {
    this.report('hostDown', { host, cause })
    const refusal = this.#refusal()
    if (refusal !== undefined) this.failReadiness(refusal)
  }

  /** Why no waiting will help, if that is so. */
  #refusal(): Error | undefined {
    const errors = this.#membership.members.map(({ lastError, state }) => (state === 'live' ? undefined : lastError))
    return errors.every((error) => error instanceof AuthenticationError) ? errors[0] : undefined
  }

  #onMembershipChange(): void {
    const usable = this.#membership.hasLiveNode
    this.setUsable(usable, usable ? undefined : this.#router.noEndpoint())
  }

  /** Every throw of a method is a rejection. */
  #for<T>(key: string, options: CallOptions | undefined, call: (item: KeyOnWire) => Promise<T>): Promise<T> {
    try {
      this.#check(options)
      return call(keyOnWire(key, this.#options))
    } catch (error) {
      return rejected(error)
    }
  }

  /** Throws for a client or a caller that is not ready to go. */
  #check(options: CallOptions | undefined): void {
    this.assertOpen()
    checkCaller(options)
  }
}

function rejected(error: unknown): Promise<never> {
  return Promise.reject(error)
}
