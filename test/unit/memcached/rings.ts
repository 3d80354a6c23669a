import { ketamaPoints, ownDigestCounts, type RingPoints } from '../../../src/memcached/ketama.js'
import { Ring } from '../../../src/memcached/ring.js'
import { parseServers, type ServerAddress, type ServerOptions } from '../../../src/memcached/server-address.js'

export function serversOf(list: readonly (string | ServerOptions)[]): readonly ServerAddress[] {
  return parseServers(list, 'servers')
}

/** The points of a ring over these servers, by the client's own digests unless others are given. */
export function pointsOf(
  servers: readonly ServerAddress[],
  counts: readonly number[] = ownDigestCounts(servers),
): RingPoints {
  return ketamaPoints(servers.map((server, index) => ({ index, server, digestCount: counts[index] ?? 0 })))
}

export function ringOf(list: readonly (string | ServerOptions)[]): Ring {
  return new Ring(pointsOf(serversOf(list)), list.length)
}
