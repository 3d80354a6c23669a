import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatEndpoint } from '../../src/core/endpoint.js'
import { InvalidOptionError } from '../../src/core/errors.js'
import { parseServiceUrl, type UrlHost } from '../../src/core/service-url.js'

const text = (minLength = 0): fc.Arbitrary<string> => fc.string({ unit: 'grapheme', minLength, maxLength: 20 })
const endpoints = fc.record({
  host: fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()),
  port: fc.integer({ min: 1, max: 65_535 }),
})
const hosts: fc.Arbitrary<UrlHost> = fc
  .record({ endpoint: endpoints, username: fc.option(text(), { nil: undefined }), password: text() })
  .map(({ endpoint, username, password }) => ({
    endpoint,
    username,
    password: username === undefined ? undefined : password,
  }))

function hostText({ endpoint, username, password }: UrlHost): string {
  if (username === undefined) return formatEndpoint(endpoint)
  return `${encodeURIComponent(username)}:${encodeURIComponent(password ?? '')}@${formatEndpoint(endpoint)}`
}

describe('parseServiceUrl()', () => {
  test('gives back the parts that a URL was built of', () => {
    const schemes = fc.constantFrom('rabbit', 'kombu+rabbit', 'mysql+pymysql')
    const queries = fc.uniqueArray(fc.tuple(text(1), text(1)), { selector: ([key]) => key })
    fc.assert(
      fc.property(
        schemes,
        fc.array(hosts),
        fc.option(text(), { nil: undefined }),
        queries,
        (scheme, list, path, query) => {
          const url = [
            `${scheme}://${list.map(hostText).join(',')}`,
            path === undefined ? '' : `/${encodeURIComponent(path)}`,
            query.length === 0 ? '' : `?${new URLSearchParams(query).toString()}`,
          ].join('')
          const parsed = parseServiceUrl(url, 1, 'url')
          expect(parsed).toMatchObject({ scheme, hosts: list, path })
          expect([...parsed.query]).toEqual(query)
        },
      ),
    )
  })

  test('no message shows a password, encoded or not, whatever is wrong with the URL', () => {
    const words = fc.stringMatching(/^[a-z]{6,10}$/)
    const reserved = fc.constantFrom('', '/', '?', '#', ',', ':', '@', '[', ']', '%', '%zz', '%E9', ' ', '\\', '$')
    const breakages = fc.constantFrom('h1:port', 'h1:99999', '::1', '[x]', 'h 1', '', 'h1')
    fc.assert(
      fc.property(
        words,
        reserved,
        words,
        reserved,
        breakages,
        fc.boolean(),
        (first, one, second, two, host, encode) => {
          const plain = `${one}${first.toUpperCase()}${two}${second.toUpperCase()}${one}`
          const password = encode ? encodeURIComponent(plain) : plain
          try {
            parseServiceUrl(`rabbit://u:${password}@${host}/vh?x=%E9`, 5672, 'url')
          } catch (error) {
            expect(error).toBeInstanceOf(InvalidOptionError)
            const message = String(error)
            expect(message).not.toContain(first.toUpperCase())
            expect(message).not.toContain(second.toUpperCase())
          }
        },
      ),
    )
  })
})
