import { brotliDecompressSync, deflateSync, inflateSync } from 'node:zlib'

/** How bodies may be compressed on sending. oslo.messaging's `gzip` is zlib in truth. */
export type Compression = 'gzip'

/** The header that names the compression, as kombu sets it. @internal */
export const COMPRESSION_HEADER = 'compression'

/** What RabbitMQ allows a message to be at most; a body that grows beyond it is an attack. */
const MAX_INFLATED_BYTES = 128 * 1024 * 1024
const GZIP = 'application/x-gzip'

type Decompress = (body: Buffer, options: { maxOutputLength: number }) => Buffer

/** kombu's names. bzip2, lzma and zstd are not in Node 20. */
const DECOMPRESSORS: ReadonlyMap<string, Decompress> = new Map<string, Decompress>([
  [GZIP, inflateSync],
  ['gzip', inflateSync],
  ['zlib', inflateSync],
  ['application/x-brotli', brotliDecompressSync],
  ['brotli', brotliDecompressSync],
])

/** Compresses a body; returns the headers that say so, if it needs any. @internal */
export function compress(
  body: Buffer,
  compression: Compression | undefined,
): { readonly content: Buffer; readonly headers: Readonly<Record<string, string>> | undefined } {
  if (compression === undefined) return { content: body, headers: undefined }
  return { content: deflateSync(body), headers: { [COMPRESSION_HEADER]: GZIP } }
}

/** The body as its sender had it. Throws for a compression that Node has not, and for a body that is none. @internal */
export function decompress(body: Buffer, headers: Readonly<Record<string, unknown>>): Buffer {
  const name = headers[COMPRESSION_HEADER]
  if (name === undefined || name === null || name === '') return body
  const inflate = typeof name === 'string' ? DECOMPRESSORS.get(name) : undefined
  if (inflate === undefined) {
    const shown = typeof name === 'string' ? `'${name.slice(0, 40)}'` : 'an unknown way'
    throw new Error(`the body is compressed in ${shown}, which is not supported: set kombu_compression to gzip`)
  }
  return inflate(body, { maxOutputLength: MAX_INFLATED_BYTES })
}
