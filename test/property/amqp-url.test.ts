import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseTransportUrl } from '../../src/amqp/transport-url.js'

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
const hostName = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/)
const host = fc.record({
  host: fc.oneof(
    hostName,
    fc.ipV4(),
    fc.ipV6().filter((address) => !address.includes('.')),
  ),
  port: fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }),
  credentials: fc.option(fc.record({ username: text, password: text }), { nil: undefined }),
})

/** As a careful person would write it. */
function write({
  host: name,
  port,
  credentials,
}: {
  host: string
  port: number | undefined
  credentials: { username: string; password: string } | undefined
}): string {
  const login =
    credentials === undefined
      ? ''
      : `${encodeURIComponent(credentials.username)}:${encodeURIComponent(credentials.password)}@`
  const address = name.includes(':') ? `[${name}]` : name
  return `${login}${address}${port === undefined ? '' : `:${String(port)}`}`
}

test('a transport URL that was written by the rules is read back as it was meant', () => {
  const hosts = fc.uniqueArray(host, {
    minLength: 1,
    maxLength: 4,
    selector: ({ host: name, port }) => `${name} ${String(port ?? 5672)}`,
  })
  fc.assert(
    fc.property(hosts, fc.option(text, { nil: undefined }), (given, vhost) => {
      const path = vhost === undefined ? '' : `/${encodeURIComponent(vhost)}`
      const parsed = parseTransportUrl(`rabbit://${given.map(write).join(',')}${path}`, 'url')
      expect(parsed.vhost).toBe(vhost ?? '/')
      expect(parsed.hosts.map(({ endpoint, username, password }) => ({ ...endpoint, username, password }))).toEqual(
        given.map(({ host: name, port = 5672, credentials = { username: 'guest', password: 'guest' } }) => ({
          host: name,
          port,
          ...credentials,
        })),
      )
    }),
  )
})
