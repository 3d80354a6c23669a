import { md5Point } from '../src/memcached/md5.js'
import { percentile } from '../test/harness/index.js'
import { ringOf } from '../test/unit/memcached/rings.js'
import { table } from './table.js'

/** What the ring of so many nodes costs, in microseconds. */
export interface RingCost {
  readonly nodeCount: number
  /** Taking a node out, or letting it in. */
  readonly evictionUs: number
  readonly hashUs: number
  /** Finding the node of a hash with all nodes in. */
  readonly lookUpUs: number
  /** With one node out. */
  readonly lookUpOutUs: number
}

/** An eviction may take so long. */
const EVICTION_GOAL_US = 10
const NODE_COUNTS = [2, 4, 10, 50, 100]
const KEYS = 10_000
const ROUNDS = 41

/** Times the ring in this process; needs no servers. */
export function ringCosts(): readonly RingCost[] {
  const keys = Array.from({ length: KEYS }, (_, i) => `tokens/${'0123456789abcdef'.repeat(2)}${i}`)
  const hashes = keys.map(md5Point)
  return NODE_COUNTS.map((nodeCount) => {
    const ring = ringOf(Array.from({ length: nodeCount }, (_, i) => `10.0.0.${i + 1}:11211`))
    const lookUp = (): void => hashes.forEach((hash) => ring.owner(hash))
    const lookUpUs = cost(KEYS, lookUp)
    const evict = (): void => {
      for (let i = 0; i < KEYS; i += 1) ring.setOut(i % nodeCount, Math.floor(i / nodeCount) % 2 === 0)
    }
    const evictionUs = cost(KEYS, evict)
    for (let node = 0; node < nodeCount; node += 1) ring.setOut(node, node === 0)
    const hashUs = cost(KEYS, () => keys.forEach((key) => md5Point(key)))
    return { nodeCount, evictionUs, hashUs, lookUpUs, lookUpOutUs: cost(KEYS, lookUp) }
  })
}

/** The median of many rounds, for each of `count` operations. */
function cost(count: number, work: () => void): number {
  const times = Array.from({ length: ROUNDS }, () => {
    const startedAt = performance.now()
    work()
    return performance.now() - startedAt
  })
  return (percentile(times, 0.5) * 1000) / count
}

export function isRingFast(costs: readonly RingCost[]): boolean {
  return costs.every(({ evictionUs }) => evictionUs < EVICTION_GOAL_US)
}

export function ringTable(costs: readonly RingCost[]): string {
  const header = ['nodes', 'eviction us', 'hash of a key us', 'look-up us', 'look-up, one out us', 'goal']
  const rows = costs.map(({ nodeCount, evictionUs, hashUs, lookUpUs, lookUpOutUs }) => [
    String(nodeCount),
    ...[evictionUs, hashUs, lookUpUs, lookUpOutUs].map((us) => us.toFixed(3)),
    evictionUs < EVICTION_GOAL_US ? 'reached' : 'MISSED',
  ])
  return `ring of memcached nodes, medians of ${ROUNDS} rounds of ${KEYS} operations; an eviction takes less than ${EVICTION_GOAL_US} us\n\n${table(header, rows)}`
}
