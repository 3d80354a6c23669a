import type { Endpoint } from '../core/endpoint.js'
import { formatEndpoint } from '../core/endpoint.js'
import { InvalidOptionError } from '../core/errors.js'
import { checkScheme, parseServiceUrl } from '../core/service-url.js'

/** Port of AMQP; oslo.messaging uses it with TLS too, never 5671. @internal */
export const AMQP_PORT = 5672

/**
 * What oslo.messaging takes for RabbitMQ, and `amqp`, which the rest of the field writes. (In oslo.messaging before
 * 2023, `amqp` was AMQP 1.0, another protocol: such a server refuses our handshake.)
 */
const SCHEMES = ['rabbit', 'amqp', 'kombu', 'kombu+rabbit', 'kombu+amqp', 'kombu+pyamqp']

/** One host of a transport URL with its own credentials. @internal */
export interface TransportHost {
  readonly endpoint: Endpoint
  readonly username: string
  readonly password: string
}

/** A parsed transport URL. @internal */
export interface TransportUrl {
  readonly hosts: readonly TransportHost[]
  readonly vhost: string
  readonly query: ReadonlyMap<string, string>
}

/** kombu's credentials when a host has none. @internal */
export const DEFAULT_CREDENTIALS: Readonly<Record<'username' | 'password', string>> = Object.freeze({
  username: 'guest',
  password: 'guest',
})

/**
 * Parses `rabbit://user:password@h1:5672,user:password@h2:5672/vhost?option=value` by oslo.messaging's rules.
 *
 * Credentials are per host and not inherited: a host without them means `guest:guest`. No path, `/` and `/%2F` all
 * mean the virtual host `/`. One rule is stricter: a URL without a host is allowed here, and the caller refuses it
 * unless hosts come from elsewhere, where oslo.messaging would take localhost.
 * @internal
 */
export function parseTransportUrl(text: string, option: string): TransportUrl {
  const url = parseServiceUrl(text, AMQP_PORT, option)
  if (url.scheme === 'amqps') throw new InvalidOptionError(option, "has the scheme 'amqps': TLS is not supported yet")
  checkScheme(url, SCHEMES, option)
  const seen = new Set<string>()
  const hosts = url.hosts.map(({ endpoint, username, password }) => {
    const name = formatEndpoint(endpoint)
    if (seen.has(name)) throw new InvalidOptionError(option, `names ${name} twice`)
    seen.add(name)
    const credentials = username === undefined ? DEFAULT_CREDENTIALS : { username, password: password ?? '' }
    return Object.freeze({ endpoint, username: credentials.username, password: credentials.password })
  })
  const vhost = url.path === undefined || url.path === '' ? '/' : url.path
  return Object.freeze({ hosts: Object.freeze(hosts), vhost, query: url.query })
}
