import { isIPv6 } from 'node:net'
import { InvalidOptionError } from './errors.js'

/** A server's address. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** `host:port`, IPv6 in brackets: how an endpoint is written in every message, event and status. */
export function formatEndpoint(endpoint: Endpoint): string {
  return isIPv6(endpoint.host) ? `[${endpoint.host}]:${endpoint.port}` : `${endpoint.host}:${endpoint.port}`
}

function parsePort(text: string, option: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (!(port >= 1 && port <= 65_535)) {
    throw new InvalidOptionError(option, 'has a port that is not a whole number from 1 to 65535')
  }
  return port
}

/**
 * Parses `name`, `name:port`, `1.2.3.4:port`, `[::1]` or `[::1]:port`.
 *
 * A bare IPv6 address is refused: `::1:3306` could mean two things. No message quotes `text`: where a password was not
 * percent-encoded, a part of it stands there.
 * @internal
 */
export function parseEndpoint(text: string, defaultPort: number, option: string): Endpoint {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text)
  if (bracketed !== null) {
    const host = bracketed[1] as string
    if (!isIPv6(host)) throw new InvalidOptionError(option, 'has brackets around what is not an IPv6 address')
    return Object.freeze({ host, port: bracketed[2] === undefined ? defaultPort : parsePort(bracketed[2], option) })
  }
  const colons = text.split(':').length - 1
  if (colons > 1) throw new InvalidOptionError(option, 'has an address with several colons: IPv6 goes in brackets')
  const [host, port] = text.split(':') as [string, string | undefined]
  if (host === '') throw new InvalidOptionError(option, 'names a host that is empty')
  if (/[\s/@?#\\,[\]]/.test(host)) throw new InvalidOptionError(option, 'has a host name with an illegal character')
  return Object.freeze({ host, port: port === undefined ? defaultPort : parsePort(port, option) })
}

/**
 * Parses a host list of strings or `{ host, port }`; refuses an empty one and one that names an endpoint twice.
 * @internal
 */
export function parseEndpoints(list: readonly unknown[], defaultPort: number, option: string): readonly Endpoint[] {
  if (list.length === 0) throw new InvalidOptionError(option, 'must name at least one host')
  const seen = new Set<string>()
  const endpoints = list.map((entry) => {
    const endpoint = parseEndpoint(endpointText(entry, option), defaultPort, option)
    const name = formatEndpoint(endpoint)
    if (seen.has(name)) throw new InvalidOptionError(option, `names ${name} twice`)
    seen.add(name)
    return endpoint
  })
  return Object.freeze(endpoints)
}

function endpointText(entry: unknown, option: string): string {
  if (typeof entry === 'string') return entry.trim()
  const { host, port } = (entry ?? {}) as { host?: unknown; port?: unknown }
  if (typeof host !== 'string' || (port !== undefined && typeof port !== 'number')) {
    throw new InvalidOptionError(option, "must list 'host:port' strings or { host, port } objects")
  }
  const name = isIPv6(host) ? `[${host}]` : host
  return port === undefined ? name : `${name}:${port}`
}
