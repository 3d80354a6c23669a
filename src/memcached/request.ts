import { InvalidOptionError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import { abortReason } from '../core/timing.js'
import { wireKey } from './key.js'
import { md5Point } from './md5.js'
import { MAX_TTL_SECONDS, type ResolvedMemcachedOptions } from './options.js'
import type { KeyOnWire } from './commands.js'

/** What every method takes; see {@link MemcachedClient} for what holds without. */
export type CallOptions = WaitOptions

/** Options of methods that store. */
export interface SetOptions extends CallOptions {
  /** Time to live; 0 is for ever. @default the client's `ttlSeconds` */
  readonly ttlSeconds?: number | undefined
}

/** Options of {@link MemcachedClient.increment} and {@link MemcachedClient.decrement}. */
export interface CountOptions extends SetOptions {
  /** What is stored when there is no counter, and returned as it is. Without it, nothing is stored. */
  readonly initial?: number | bigint | undefined
}

/** Options of {@link MemcachedClient.getOrSet}. */
export interface LoadOptions extends SetOptions {
  /**
   * How long an old value is given to others after its time to live, while one caller loads a new one. It needs a time
   * to live, and servers that speak the meta protocol.
   * @default 0
   */
  readonly staleSeconds?: number | undefined
  /** Longest duration of one load; then it has failed, and another caller may load. @default 10_000 */
  readonly loadTimeoutMs?: number | undefined
}

const DEFAULT_LOAD_TIMEOUT_MS = 10_000
const MAX_LOAD_TIMEOUT_MS = 24 * 3600 * 1000
const MAX_COUNT = 2n ** 64n - 1n

/** The key as servers see it, and its hash. Throws `KeyError`. @internal */
export function keyOnWire(given: string, options: ResolvedMemcachedOptions): KeyOnWire {
  const key = wireKey(given, options)
  return { key, hash: md5Point(key) }
}

/** Throws for a time limit that is none, and for a caller that has gone already. @internal */
export function checkLimits({ timeoutMs, signal }: CallOptions): void {
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs > 0 && timeoutMs <= 2 ** 31 - 1)) {
    throw new InvalidOptionError('timeoutMs', 'must be a number of milliseconds above 0')
  }
  if (signal?.aborted === true) throw abortReason(signal)
}

/** The time to live that a call asks for. @internal */
export function readTtl(given: number | undefined, fallback: number): number {
  const ttlSeconds = given ?? fallback
  if (Number.isSafeInteger(ttlSeconds) && ttlSeconds >= 0 && ttlSeconds <= MAX_TTL_SECONDS) return ttlSeconds
  throw new InvalidOptionError('ttlSeconds', `must be a whole number from 0 to ${MAX_TTL_SECONDS}`)
}

/** A number that a counter can hold. @internal */
export function readCount(name: 'delta' | 'initial', given: number | bigint): bigint {
  const isWhole = typeof given === 'bigint' || Number.isSafeInteger(given)
  const count = isWhole ? BigInt(given) : -1n
  if (count >= 0n && count <= MAX_COUNT) return count
  throw new InvalidOptionError(name, 'must be a whole number from 0 to 2^64 - 1; above 2^53, a BigInt')
}

/** Times of {@link MemcachedClient.getOrSet}. @internal */
export interface LoadTimes {
  readonly ttlSeconds: number
  readonly staleSeconds: number
  readonly loadTimeoutMs: number
}

/** @internal */
export function readLoadTimes(options: LoadOptions, fallbackTtl: number): LoadTimes {
  const ttlSeconds = readTtl(options.ttlSeconds, fallbackTtl)
  const { staleSeconds = 0, loadTimeoutMs = DEFAULT_LOAD_TIMEOUT_MS } = options
  if (!Number.isSafeInteger(staleSeconds) || staleSeconds < 0 || ttlSeconds + staleSeconds > MAX_TTL_SECONDS) {
    throw new InvalidOptionError('staleSeconds', `must be a whole number, with ttlSeconds at most ${MAX_TTL_SECONDS}`)
  }
  if (staleSeconds > 0 && ttlSeconds === 0) {
    throw new InvalidOptionError('staleSeconds', 'needs a time to live that ends: ttlSeconds above 0')
  }
  if (!(typeof loadTimeoutMs === 'number' && loadTimeoutMs > 0 && loadTimeoutMs <= MAX_LOAD_TIMEOUT_MS)) {
    throw new InvalidOptionError('loadTimeoutMs', `must be a number of milliseconds from 1 to ${MAX_LOAD_TIMEOUT_MS}`)
  }
  return { ttlSeconds, staleSeconds, loadTimeoutMs }
}
