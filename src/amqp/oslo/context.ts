import type { Payload } from './envelope.js'

/**
 * What goes along with a request: who asks, on whose behalf, under which request id. A plain object of JSON values, as
 * oslo.context's `to_dict()` makes it. It carries tokens: nothing here logs it.
 */
export type RequestContext = Readonly<Record<string, unknown>>

const PREFIX = '_context_'

/** The context as fields of a message. @internal */
export function packContext(context: RequestContext | null | undefined): Payload {
  return Object.fromEntries(Object.entries(context ?? {}).map(([key, value]) => [PREFIX + key, value]))
}

/** The context that the fields of a message hold. @internal */
export function unpackContext(payload: Payload): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(payload)
      .filter(([key]) => key.startsWith(PREFIX))
      .map(([key, value]) => [key.slice(PREFIX.length), value]),
  )
}
