import { InvalidOptionError } from './errors.js'
import { parseEndpoint, type Endpoint } from './endpoint.js'

/** One host of a {@link ServiceUrl}, with the credentials written in front of it. */
export interface UrlHost {
  readonly endpoint: Endpoint
  readonly username: string | undefined
  readonly password: string | undefined
}

/** A URL that may name several hosts, as oslo.messaging's transport URL does. */
export interface ServiceUrl {
  /** Lower case, without `://`. */
  readonly scheme: string
  readonly hosts: readonly UrlHost[]
  /** Percent-decoded, without its first `/`; `undefined` when there is no path at all. */
  readonly path: string | undefined
  /** Repeated keys joined with `,`, blank values dropped. */
  readonly query: ReadonlyMap<string, string>
}

/**
 * Parses `scheme://[user[:password]@]host[:port][,...][/path][?query]`.
 *
 * The rules are oslo.messaging's (`transport.py`, TransportURL.parse): hosts are split at `,` first, each at its last
 * `@`; empty elements are skipped; user and password are percent-decoded once; a fragment is cut off. A port that is
 * no number is refused. Credentials are per host and not inherited. No message quotes any part that can hold a password.
 * @internal
 */
export function parseServiceUrl(text: string, defaultPort: number, option: string): ServiceUrl {
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?(?:#.*)?$/s.exec(text)
  if (match === null) throw new InvalidOptionError(option, "is not a URL of the form 'scheme://host:port,.../path'")
  const [, scheme, authority, path, query] = match as unknown as [string, string, string, string?, string?]
  return Object.freeze({
    scheme: scheme.toLowerCase(),
    hosts: Object.freeze(
      authority
        .split(',')
        .filter((element) => element !== '')
        .map((element) => parseUrlHost(element, defaultPort, option)),
    ),
    path: path === undefined ? undefined : decode(path, option),
    query: parseQuery(query ?? '', option),
  })
}

/** Throws unless the scheme is one of `allowed`. @internal */
export function checkScheme(url: ServiceUrl, allowed: readonly string[], option: string): void {
  if (allowed.includes(url.scheme)) return
  throw new InvalidOptionError(
    option,
    `has the scheme '${url.scheme}', expected ${allowed.map((name) => `'${name}://'`).join(' or ')}`,
  )
}

function parseUrlHost(element: string, defaultPort: number, option: string): UrlHost {
  const at = element.lastIndexOf('@')
  const endpoint = parseEndpoint(withoutEmptyPort(element.slice(at + 1)), defaultPort, option)
  if (at < 0) return Object.freeze({ endpoint, username: undefined, password: undefined })
  const credentials = element.slice(0, at)
  const colon = credentials.indexOf(':')
  const username = decode(colon < 0 ? credentials : credentials.slice(0, colon), option)
  const password = colon < 0 ? undefined : decode(credentials.slice(colon + 1), option)
  return Object.freeze({ endpoint, username, password })
}

/** `h1:` names no port: oslo.messaging 14 accepts it. */
function withoutEmptyPort(text: string): string {
  return text.endsWith(':') && !text.endsWith('::') ? text.slice(0, -1) : text
}

/** A `%` that begins no escape stands for itself, as in Python: a neighbour's URL with such a password works here. */
function decode(text: string, option: string): string {
  try {
    return decodeURIComponent(text.replaceAll(/%(?![\dA-Fa-f]{2})/g, '%25'))
  } catch {
    throw new InvalidOptionError(option, 'has percent-encoded bytes that are not UTF-8')
  }
}

function parseQuery(text: string, option: string): ReadonlyMap<string, string> {
  const query = new Map<string, string>()
  for (const part of text.split('&')) {
    const equals = part.indexOf('=')
    const key = decode((equals < 0 ? part : part.slice(0, equals)).replaceAll('+', ' '), option)
    const value = equals < 0 ? '' : decode(part.slice(equals + 1).replaceAll('+', ' '), option)
    if (key === '' || value === '') continue
    const earlier = query.get(key)
    query.set(key, earlier === undefined ? value : `${earlier},${value}`)
  }
  return query
}
