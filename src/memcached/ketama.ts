import HashRing from 'hashring'
import type { ServerAddress } from './server-address.js'

/** Digests of a server of weight 1, of four points each: ketama's 160 points. */
const DIGESTS_PER_SERVER = 40
const POINTS_PER_SERVER = 160
const POINTS_PER_DIGEST = 4
/** hashring's own default, which no server of ours may have: it would multiply such a number by the server's share. */
const HASHRING_DEFAULT = -1
const DEFAULT_PORT = 11_211

/** The points of a ring in ascending order, and the index of the server that each belongs to. @internal */
export interface RingPoints {
  readonly points: Uint32Array
  readonly owners: Uint16Array
}

/** One server's place in a ring. @internal */
export interface RingEntry {
  /** The number of its node. */
  readonly index: number
  readonly server: ServerAddress
  readonly digestCount: number
}

/**
 * The name that is hashed: as libmemcached, without the port when it is memcached's own. @internal
 */
export function ketamaName(
  server: Pick<ServerAddress, 'host' | 'port'> & { readonly path?: string | undefined },
): string {
  if (server.path !== undefined) return server.path
  return server.port === DEFAULT_PORT ? server.host : `${server.host}:${server.port}`
}

/** Digests of each server, by its weight alone: what the other servers are does not move its keys. @internal */
export function ownDigestCounts(servers: readonly ServerAddress[]): readonly number[] {
  return servers.map(({ weight }) => Math.max(1, Math.round(DIGESTS_PER_SERVER * weight)))
}

/**
 * Digests of each server as libmemcached counts them (hosts.cc, `update_continuum`): by its share of all weights, in
 * single precision, which for some numbers of servers gives 39 instead of 40. @internal
 */
export function libmemcachedDigestCounts(servers: readonly ServerAddress[]): readonly number[] {
  const total = servers.reduce((sum, { weight }) => sum + weight, 0)
  const { fround, floor } = Math
  return servers.map(({ weight }) => {
    const share = fround(fround(weight) / fround(total))
    const points = fround(fround(fround(share * POINTS_PER_SERVER) / POINTS_PER_DIGEST) * fround(servers.length))
    return floor(fround(points + 0.0000000001))
  })
}

/**
 * Computes ketama's points with hashring, once. It is on the path of no request: its look-up is slow, and the cache in
 * front of that writes into `Object.prototype` for the key `__proto__`.
 *
 * Each server gets its number of digests explicitly, because hashring's own share (`floor(1 / n * 40 * n)`) is 39 for
 * n = 7, 14, 28, 49..., which moves keys of servers that stay.
 * @internal
 */
export function ketamaPoints(entries: readonly RingEntry[]): RingPoints {
  const names = entries.map(({ server }) => ketamaName(server))
  const servers = Object.fromEntries(entries.map(({ digestCount }, i) => [names[i] as string, { vnodes: digestCount }]))
  const ring = new HashRing(servers, 'md5', { 'vnode count': HASHRING_DEFAULT, 'max cache size': 1 })
  // Its types say that it wants the servers and returns a list; it wants none and returns a record.
  const pointsOf = ring.points.bind(ring) as unknown as () => Readonly<Record<string, readonly number[]>>
  const byServer = pointsOf()
  const all = entries.flatMap(({ index }, i) =>
    (byServer[names[i] as string] ?? []).map((point) => ({ point, owner: index })),
  )
  all.sort((a, b) => a.point - b.point || a.owner - b.owner)
  return { points: Uint32Array.from(all, (one) => one.point), owners: Uint16Array.from(all, (one) => one.owner) }
}
