import HashRing from 'hashring'
import type { Endpoint } from '../core/endpoint.js'

/** Digests per server, of four points each: ketama's 160 points. */
const DIGESTS_PER_SERVER = 40
const DEFAULT_PORT = 11_211

/** The points of a ring in ascending order, and the index of the server that each belongs to. @internal */
export interface RingPoints {
  readonly points: Uint32Array
  readonly owners: Uint16Array
}

/**
 * The name that is hashed: as libmemcached, without the port when it is memcached's own. @internal
 */
export function ketamaName({ host, port }: Endpoint): string {
  return port === DEFAULT_PORT ? host : `${host}:${port}`
}

/**
 * Computes ketama's points with hashring, once. It is on the path of no request: its look-up is slow, and the cache in
 * front of that writes into `Object.prototype` for the key `__proto__`.
 *
 * Each server gets its number of digests explicitly, and another default than that: hashring's own share
 * (`floor(1 / n * 40 * n)`) is 39 for n = 7, 14, 28, 49..., which moves keys of servers that stay.
 * @internal
 */
export function ketamaPoints(endpoints: readonly Endpoint[]): RingPoints {
  const servers = Object.fromEntries(endpoints.map((one) => [ketamaName(one), { vnodes: DIGESTS_PER_SERVER }]))
  const ring = new HashRing(servers, 'md5', { 'vnode count': DIGESTS_PER_SERVER + 1, 'max cache size': 1 })
  // Its types say that it wants the servers and returns a list; it wants none and returns a record.
  const pointsOf = ring.points.bind(ring) as unknown as () => Readonly<Record<string, readonly number[]>>
  const byServer = pointsOf()
  const all = endpoints.flatMap((one, owner) => (byServer[ketamaName(one)] ?? []).map((point) => ({ point, owner })))
  all.sort((a, b) => a.point - b.point || a.owner - b.owner)
  return { points: Uint32Array.from(all, (one) => one.point), owners: Uint16Array.from(all, (one) => one.owner) }
}
