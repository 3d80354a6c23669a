import { InvalidOptionError } from '../core/errors.js'
import { parseServiceUrl, type ServiceUrl } from '../core/service-url.js'
import type { Endpoint } from '../core/endpoint.js'

/** What a SQLAlchemy-style URL says. @internal */
export interface MysqlUrl {
  readonly endpoints: readonly Endpoint[]
  readonly user: string | undefined
  readonly password: string | undefined
  readonly database: string | undefined
  readonly charset: string | undefined
  /** Paths of PEM files, by mysql2's names. */
  readonly tlsFiles: Readonly<Partial<Record<'ca' | 'cert' | 'key', string>>>
  readonly connectTimeoutMs: number | undefined
}

export const MYSQL_PORT = 3306
const TLS_PARAMETERS = { ssl_ca: 'ca', ssl_cert: 'cert', ssl_key: 'key' } as const

/**
 * Parses `mysql+pymysql://user:password@h1,h2:3307,[::1]/database?charset=utf8mb4&ssl_ca=/path`.
 *
 * The driver after `+` is ignored. One user serves all hosts: it may stand before the first only, or be repeated.
 * @internal
 */
export function parseMysqlUrl(text: string, option: string): MysqlUrl {
  const url = parseServiceUrl(text, MYSQL_PORT, option)
  if (!/^(mysql|mariadb)(\+\w+)?$/.test(url.scheme)) {
    throw new InvalidOptionError(option, `has the scheme '${url.scheme}', expected 'mysql://' or 'mysql+driver://'`)
  }
  const [first] = url.hosts
  for (const host of url.hosts) {
    if (host.username === undefined) continue
    if (host.username !== first?.username || host.password !== first.password) {
      throw new InvalidOptionError(option, 'has different credentials for its hosts: a Galera cluster has one set')
    }
  }
  return {
    endpoints: url.hosts.map(({ endpoint }) => endpoint),
    user: first?.username,
    password: first?.password,
    database: url.path === undefined || url.path === '' ? undefined : url.path,
    ...parseParameters(url, option),
  }
}

function parseParameters(url: ServiceUrl, option: string): Pick<MysqlUrl, 'charset' | 'tlsFiles' | 'connectTimeoutMs'> {
  const tlsFiles: Partial<Record<'ca' | 'cert' | 'key', string>> = {}
  let charset: string | undefined
  let connectTimeoutMs: number | undefined
  for (const [name, value] of url.query) {
    if (name in TLS_PARAMETERS) tlsFiles[TLS_PARAMETERS[name as keyof typeof TLS_PARAMETERS]] = value
    else if (name === 'charset') charset = value
    else if (name === 'connect_timeout' && /^\d+$/.test(value)) connectTimeoutMs = Number(value) * 1000
    else throw new InvalidOptionError(option, `has the parameter '${name}', which is unknown or has a bad value`)
  }
  return { charset, tlsFiles, connectTimeoutMs }
}
