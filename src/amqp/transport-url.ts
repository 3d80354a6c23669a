import { formatEndpoint, type Endpoint } from '../core/endpoint.js'
import { InvalidOptionError } from '../core/errors.js'
import { checkScheme, parseServiceUrl } from '../core/service-url.js'

/** Port of AMQP; oslo.messaging uses it with TLS too. @internal */
export const AMQP_PORT = 5672
/** Port of an `amqps` URL, which oslo.messaging does not have. @internal */
export const AMQPS_PORT = 5671

/**
 * What oslo.messaging takes for RabbitMQ, and `amqp` and `amqps`, which the rest of the field writes. (In oslo.messaging
 * before 2023, `amqp` was AMQP 1.0, another protocol: such a server refuses our handshake.)
 */
const SCHEMES = ['rabbit', 'amqp', 'amqps', 'kombu', 'kombu+rabbit', 'kombu+amqp', 'kombu+pyamqp']

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
  /** True for `amqps`. */
  readonly isSecure: boolean
}

/** kombu's credentials when a host has none. @internal */
export const DEFAULT_CREDENTIALS: Readonly<Record<'username' | 'password', string>> = Object.freeze({
  username: 'guest',
  password: 'guest',
})

/** kombu's host when a URL names none. */
const LOCAL_HOST: TransportHost = Object.freeze({
  endpoint: Object.freeze({ host: '127.0.0.1', port: AMQP_PORT }),
  ...DEFAULT_CREDENTIALS,
})

/**
 * Parses `rabbit://user:password@h1:5672,user:password@h2:5672/vhost?option=value` by oslo.messaging's rules.
 *
 * Credentials are per host and not inherited: a host without them, or with an empty one, means `guest`. No path, `/` and
 * `/%2F` all mean the virtual host `/`; a URL without a host means 127.0.0.1. The port is 5672 also with TLS.
 *
 * Where Python fails or does something odd, this differs: a password may contain an encoded `/`; the virtual host is
 * decoded once and not twice; `amqps://` is TLS on port 5671; a host that is named twice, a port that is no number, and
 * a user and a host without a scheme (`u:p@h/v`) are refused.
 * @internal
 */
export function parseTransportUrl(text: string, option: string): TransportUrl {
  const isSecure = /^amqps:/i.test(text)
  const url = parseServiceUrl(text, isSecure ? AMQPS_PORT : AMQP_PORT, option)
  checkScheme(url, SCHEMES, option)
  const seen = new Set<string>()
  const hosts = url.hosts.map(({ endpoint, username, password }) => {
    const name = formatEndpoint(endpoint)
    if (seen.has(name)) throw new InvalidOptionError(option, `names ${name} twice`)
    seen.add(name)
    return Object.freeze({
      endpoint,
      username: username || DEFAULT_CREDENTIALS.username,
      password: password || DEFAULT_CREDENTIALS.password,
    })
  })
  if (hosts.length === 0) hosts.push(localHost(isSecure))
  const vhost = url.path === undefined || url.path === '' ? '/' : url.path
  return Object.freeze({ hosts: Object.freeze(hosts), vhost, query: url.query, isSecure })
}

function localHost(isSecure: boolean): TransportHost {
  if (!isSecure) return LOCAL_HOST
  return Object.freeze({ ...LOCAL_HOST, endpoint: Object.freeze({ ...LOCAL_HOST.endpoint, port: AMQPS_PORT }) })
}
