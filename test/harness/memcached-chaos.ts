import { type ChaosResult, chaosViolations } from './chaos.js'
import { MemcachedScene } from './memcached-scene.js'
import { OurMemcached } from './subjects/memcached.js'

/** The call's longest time by default, three silent nodes of 250 ms, and 50 ms. */
const ALLOWANCE_MS = 3 * 250 + 50
/** Of each of the two clients; as fast as possible they would keep each other, and the servers, from running. */
const RATE_PER_SECOND = 4000
/** How much of the hit rate the protection may cost, in points. */
const MAX_HITS_LOST = 3
const MIN_EVICTIONS_PER_MINUTE = 20

/**
 * Our client, and beside it one that trusts what a node holds when it comes back. What that one finds and what is not
 * stale is the most that can be found.
 */
export function memcachedChaosScene(localAddress: string): MemcachedScene {
  return new MemcachedScene(new OurMemcached(localAddress), {
    allowanceMs: ALLOWANCE_MS,
    ratePerSecond: RATE_PER_SECOND,
    rival: new OurMemcached(localAddress, { rejoin: 'trust' }),
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
