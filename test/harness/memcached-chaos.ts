import { type ChaosResult, chaosViolations } from './chaos.js'
import { MemcachedScene } from './memcached-scene.js'
import { OurMemcached } from './subjects/memcached.js'

/** How long an operation may take beyond the call's longest time, three silent nodes. */
const ALLOWANCE_MS = 50
/** Of each of the two clients; as fast as possible they would keep each other, and the servers, from running. */
const RATE_PER_SECOND = 4000
/** Few enough that what an eviction loses is stored anew between two of them. */
const KEYS = 400
/** How much of the hit rate the protection may cost, in points. */
const MAX_HITS_LOST = 3
const MIN_EVICTIONS_PER_MINUTE = 20

/** How the clients are set up; a machine that has other things to do needs more time. */
export interface MemcachedChaosOptions {
  /** @default 250, the client's default */
  readonly operationTimeoutMs?: number
  /** @default 50 */
  readonly allowanceMs?: number
}

/**
 * Our client, and beside it one that trusts what a node holds when it comes back. What that one finds and what is not
 * stale is the most that can be found.
 */
export function memcachedChaosScene(localAddress: string, options: MemcachedChaosOptions = {}): MemcachedScene {
  const { operationTimeoutMs = 250, allowanceMs = ALLOWANCE_MS } = options
  return new MemcachedScene(new OurMemcached(localAddress, { operationTimeoutMs }), {
    allowanceMs: 3 * operationTimeoutMs + allowanceMs,
    ratePerSecond: RATE_PER_SECOND,
    keys: KEYS,
    rival: new OurMemcached(localAddress, { operationTimeoutMs, rejoin: 'trust' }),
  })
}

/** {@link chaosViolations}, and what else is asked of the cache client. */
export function memcachedChaosViolations(result: ChaosResult): readonly string[] {
  const { evictions = 0, hitPercent = 0, rivalHitPercent = 0 } = result.findings.notes
  const wanted = Math.floor((MIN_EVICTIONS_PER_MINUTE * result.seconds) / 60)
  const lost = rivalHitPercent - hitPercent
  const errors = Object.values(result.errors).reduce((sum, count) => sum + count, 0)
  return [
    ...chaosViolations(result),
    ...(errors > 0 ? [`${errors} errors`] : []),
    ...(evictions < wanted ? [`only ${evictions} evictions, not ${wanted}`] : []),
    ...(lost > MAX_HITS_LOST ? [`the hit rate is ${lost.toFixed(1)} points below that of a client that trusts`] : []),
  ]
}
