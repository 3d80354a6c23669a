import { formatEndpoint, parseEndpoints, type Endpoint } from '../core/endpoint.js'
import { InvalidOptionError } from '../core/errors.js'

/** One memcached server, as it is given to the client. */
export interface ServerOptions {
  /** A host name, an address, or the path of a unix socket. */
  readonly host: string
  /** @default 11211 */
  readonly port?: number
  /** Its share of the keys, compared with that of the others. @default 1 */
  readonly weight?: number
}

/** A server as the client knows it. @internal */
export interface ServerAddress extends Endpoint {
  /** `host:port`, or the path of a unix socket: what it is called, and told apart by. */
  readonly name: string
  /** A unix socket. */
  readonly path: string | undefined
  readonly weight: number
}

/** memcached's own port. @internal */
export const DEFAULT_PORT = 11_211
const MAX_WEIGHT = 1000

/** Parses a list of servers; refuses an empty one, and one that names a server twice. @internal */
export function parseServers(list: readonly unknown[], option: string): readonly ServerAddress[] {
  if (list.length === 0) throw new InvalidOptionError(option, 'must name at least one host')
  const servers = list.map((entry) => parseServer(entry, option))
  const names = new Set<string>()
  for (const { name } of servers) {
    if (names.has(name)) throw new InvalidOptionError(option, `names ${name} twice`)
    names.add(name)
  }
  return Object.freeze(servers)
}

function parseServer(entry: unknown, option: string): ServerAddress {
  const weight = weightOf(entry, option)
  const path = pathOf(entry)
  if (path !== undefined) return Object.freeze({ host: path, port: 0, name: path, path, weight })
  const plain = typeof entry === 'string' ? withoutFamily(entry.trim()) : entry
  const [endpoint] = parseEndpoints([plain], DEFAULT_PORT, option) as readonly [Endpoint]
  return Object.freeze({ ...endpoint, name: formatEndpoint(endpoint), path: undefined, weight })
}

function weightOf(entry: unknown, option: string): number {
  const weight = (entry as { weight?: unknown } | null | undefined)?.weight ?? 1
  if (typeof weight === 'number' && weight > 0 && weight <= MAX_WEIGHT) return weight
  throw new InvalidOptionError(option, `has a weight that is not a number above 0 and up to ${MAX_WEIGHT}`)
}

/** `/run/memcached.sock`, or as libmemcached and pymemcache write it, `unix:/run/memcached.sock`. */
function pathOf(entry: unknown): string | undefined {
  const text = typeof entry === 'string' ? entry.trim() : (entry as { host?: unknown } | null | undefined)?.host
  if (typeof text !== 'string') return undefined
  const path = text.startsWith('unix:') ? text.slice('unix:'.length) : text
  return path.startsWith('/') ? path : undefined
}

/** oslo.cache writes `inet6:[::1]:11211`, as python-memcached does. */
function withoutFamily(text: string): string {
  return text.replace(/^inet6?:(?=.*:|\[)/, '')
}
