import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { errorText } from './errors.js'
import type { OptionReader } from './options.js'

/** Options of `tls.connect` of Node that make sense here; the host, the port and the socket are the client's. */
export type TlsOptions = Omit<ConnectionOptions, 'host' | 'port' | 'path' | 'socket' | 'lookup' | 'timeout'>

/** Environment variables that name files, by the option of Node that takes what is in them. */
const FILES = ['ca', 'cert', 'key'] as const

/**
 * What `tls` asks for; `undefined` for no TLS. `isWanted` is what
 * holds when the option is not given, as with an `amqps://` URL.
 *
 * The server's certificate and its name are always verified, unless `rejectUnauthorized` says otherwise: oslo.messaging
 * verifies nothing without `ssl_ca_file`, which protects from nobody.
 * @internal
 */
export function resolveTls(read: OptionReader, isWanted: boolean): TlsOptions | undefined {
  const paths = FILES.flatMap((name) => {
    const path = read.string(`tls.${name}`)
    return path === undefined ? [] : [[name, path] as const]
  })
  const ciphers = read.string('tls.ciphers')
  const given = read.raw('tls') ?? isWanted
  if (given === false) return undefined
  if (given === true) {
    const files = paths.map(([name, path]) => [name, readFile(read, name, path)] as const)
    return Object.freeze({ ...Object.fromEntries(files), ...(ciphers === undefined ? {} : { ciphers }) })
  }
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw read.problem('tls', "must be true, false or an object of Node's TLS options")
  }
  return Object.freeze({ ...given })
}

/** Read once, when the client is made: a file that cannot be read is found out at once. */
function readFile(read: OptionReader, name: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw read.problem(`tls.${name}`, `names a file that cannot be read: ${errorText(error)}`)
  }
}
