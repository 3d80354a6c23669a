import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { errorText } from '../core/errors.js'
import type { OptionReader } from '../core/options.js'

/** Options of `tls.connect` of Node that make sense here; the host, the port and the socket are the transport's. */
export type TlsOptions = Omit<ConnectionOptions, 'host' | 'port' | 'path' | 'socket' | 'lookup' | 'timeout'>

/** Environment variables that name files, by the option of Node that takes what is in them. */
const FILES = ['ca', 'cert', 'key'] as const

/**
 * What `tls` asks for; `undefined` for no TLS. `isUrlSecure` is true for an `amqps://` URL.
 *
 * The server's certificate and its name are always verified, unless `rejectUnauthorized` says otherwise: oslo.messaging
 * verifies nothing without `ssl_ca_file`, which protects from nobody.
 * @internal
 */
export function resolveTls(reader: OptionReader, isUrlSecure: boolean): TlsOptions | undefined {
  const files = Object.fromEntries(
    FILES.flatMap((name) => {
      const path = reader.string(`tls.${name}`)
      return path === undefined ? [] : [[name, path] as const]
    }),
  )
  const given = reader.raw('tls') ?? isUrlSecure
  if (typeof given === 'boolean') return given ? readFiles(reader, files) : undefined
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw reader.problem('tls', "must be true, false or an object of Node's TLS options")
  }
  return Object.freeze({ ...given })
}

/** Once, when the transport is made: a file that cannot be read is found out at once. */
function readFiles(reader: OptionReader, files: Readonly<Record<string, string>>): TlsOptions {
  return Object.freeze(
    Object.fromEntries(
      Object.entries(files).map(([name, path]) => {
        try {
          return [name, readFileSync(path)]
        } catch (error) {
          throw reader.problem(`tls.${name}`, `names a file that cannot be read: ${errorText(error)}`)
        }
      }),
    ),
  )
}
