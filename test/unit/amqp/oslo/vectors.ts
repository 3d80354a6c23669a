import { readFileSync } from 'node:fs'

/** A message that was captured between Python services. */
export interface Vector {
  readonly kind: string
  readonly exchange: string
  readonly routing_key: string
  readonly mandatory: boolean
  readonly properties: {
    readonly content_type: string
    readonly content_encoding: string
    readonly application_headers: Readonly<Record<string, unknown>>
    readonly delivery_mode: number
    readonly priority: number
    readonly expiration?: string
  }
  readonly body: string
}

export const VECTORS: readonly Vector[] = JSON.parse(
  readFileSync(new URL('wire-examples.json', import.meta.url), 'utf8'),
) as Vector[]

/** Properties of a captured message by amqplib's names. */
export function propertiesOf({ properties }: Vector): Readonly<Record<string, unknown>> {
  return {
    contentType: properties.content_type,
    contentEncoding: properties.content_encoding,
    headers: properties.application_headers,
    deliveryMode: properties.delivery_mode,
    priority: properties.priority,
    expiration: properties.expiration,
  }
}

/** Text with every identifier and every time stamp replaced. */
export function withoutIds(text: string): string {
  return text
    .replaceAll(/[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/g, '<uuid>')
    .replaceAll(/[\da-f]{32}/g, '<id>')
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?/g, '<time>')
}
