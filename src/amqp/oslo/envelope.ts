import { isUtf8 } from 'node:buffer'
import { compress, decompress, type Compression } from './compression.js'
import { parseJson } from './json-parser.js'
import { writeJson } from './json-writer.js'

/** The content type; oslo.messaging rejects a message with any other, also with a parameter behind it. @internal */
export const CONTENT_TYPE = 'application/json'

const VERSION_KEY = 'oslo.version'
const MESSAGE_KEY = 'oslo.message'
const VERSION = '2.0'
const ENCODINGS: readonly unknown[] = [undefined, null, '', 'utf-8', 'utf8', 'us-ascii', 'ascii']

/** The fields of a message. @internal */
export type Payload = Readonly<Record<string, unknown>>

/** What arrives: the part of an AMQP message that its meaning depends on. @internal */
export interface Encoded {
  readonly content: Buffer
  readonly properties: Readonly<Record<string, unknown>>
}

/** A message that was understood. @internal */
export interface Decoded {
  readonly payload: Payload
  /** The first field with an integer beyond 2^53, which is a bigint in `payload`. */
  readonly unsafeInteger: string | undefined
}

/** A message that is none of oslo.messaging's; says why, without quoting it. @internal */
export class MalformedMessageError extends Error {
  constructor(problem: string, cause?: unknown) {
    super(`not a message of oslo.messaging: ${problem}`, cause === undefined ? undefined : { cause })
    this.name = 'MalformedMessageError'
  }
}

/** Body and headers of a message; `isBare` leaves out the envelope, as the notification format 1.0 does. @internal */
export function encode(
  payload: Payload,
  compression?: Compression,
  isBare = false,
): { readonly content: Buffer; readonly headers: Readonly<Record<string, string>> | undefined } {
  const message = writeJson(payload)
  const text = isBare ? message : writeJson({ [VERSION_KEY]: VERSION, [MESSAGE_KEY]: message })
  return compress(Buffer.from(text), compression)
}

/**
 * Understands a message, with an envelope or without, as oslo.messaging does.
 *
 * Throws `MalformedMessageError` where oslo.messaging would reject it.
 * @internal
 */
export function decode({ content, properties }: Encoded): Decoded {
  const { contentType, contentEncoding } = properties
  if (contentType !== CONTENT_TYPE) throw new MalformedMessageError(`its content type is not ${CONTENT_TYPE}`)
  if (!ENCODINGS.includes(typeof contentEncoding === 'string' ? contentEncoding.toLowerCase() : contentEncoding)) {
    throw new MalformedMessageError('its content encoding is not utf-8')
  }
  const headers = (properties['headers'] ?? {}) as Readonly<Record<string, unknown>>
  const outer = understand(toText(content, headers))
  return isEnvelope(outer.payload) ? open(outer.payload) : outer
}

function isEnvelope(payload: Payload): boolean {
  return VERSION_KEY in payload && MESSAGE_KEY in payload
}

function open(envelope: Payload): Decoded {
  if (envelope[VERSION_KEY] !== VERSION) throw new MalformedMessageError(`its envelope is not of version ${VERSION}`)
  const message = envelope[MESSAGE_KEY]
  if (typeof message !== 'string') throw new MalformedMessageError('its envelope holds no text')
  return understand(message)
}

function understand(text: string): Decoded {
  try {
    const { value, unsafeInteger } = parseJson(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return { payload: value as Payload, unsafeInteger }
    }
  } catch (error) {
    throw new MalformedMessageError('its body is not JSON', error)
  }
  throw new MalformedMessageError('its body is no object')
}

function toText(content: Buffer, headers: Readonly<Record<string, unknown>>): string {
  let body: Buffer
  try {
    body = decompress(content, headers)
  } catch (error) {
    throw new MalformedMessageError('its body cannot be read', error)
  }
  if (!isUtf8(body)) throw new MalformedMessageError('its body is not utf-8')
  return body.toString('utf8')
}
