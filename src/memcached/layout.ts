import { ketamaPoints, libmemcachedDigestCounts, ownDigestCounts } from './ketama.js'
import type { CacheNode } from './node.js'
import type { RingKind } from './options.js'
import { Rendezvous } from './rendezvous.js'
import { Ring } from './ring.js'
import type { Selector } from './selector.js'

/** What a {@link Layout} has to keep from the one before. @internal */
export interface Heritage {
  /** Nodes that are out for good, which keep the shares that they had. */
  readonly removed: readonly CacheNode[]
  readonly before: Layout
}

/** How keys are shared out among nodes. @internal */
export class Layout {
  readonly #kind: RingKind
  readonly #nodes: readonly CacheNode[]
  /** Digests per node in the ring, by the node's name. */
  readonly #counts: ReadonlyMap<string, number>
  /** True when servers that stay have changed their shares. */
  readonly hasMovedKeys: boolean

  constructor(kind: RingKind, members: readonly CacheNode[], heritage?: Heritage) {
    this.#kind = kind
    this.#nodes = [...members, ...(heritage?.removed ?? [])]
    const servers = members.map(({ server }) => server)
    const counts = kind === 'libmemcached' ? libmemcachedDigestCounts(servers) : ownDigestCounts(servers)
    const own = members.map(({ name }, i) => [name, counts[i] as number] as const)
    const before = heritage === undefined ? new Map<string, number>() : heritage.before.#counts
    this.hasMovedKeys = own.some(([name, count]) => (before.get(name) ?? count) !== count)
    this.#counts = new Map([
      ...(heritage?.removed ?? []).map(({ name }) => [name, before.get(name) ?? 0] as const),
      ...own,
    ])
  }

  /** Which node answers for a key; nodes have numbers below `size`. */
  selector(size: number, version: number): Selector {
    if (this.#kind === 'pymemcache') {
      const named = this.#nodes.map(({ index, server: { host, port, path } }) => ({
        index,
        // As Python formats the tuple of host and port: an IPv6 address has no brackets.
        name: path ?? `${host}:${port}`,
      }))
      return new Rendezvous(named, size, version)
    }
    const entries = this.#nodes.map(({ index, name, server }) => ({
      index,
      server,
      digestCount: this.#counts.get(name) ?? 0,
    }))
    return new Ring(ketamaPoints(entries), size, version)
  }
}
