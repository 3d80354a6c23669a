import { describe, expect, test } from 'vitest'
import { formatEndpoint } from '../../../src/core/endpoint.js'
import { InvalidOptionError } from '../../../src/core/errors.js'
import { checkScheme, parseServiceUrl } from '../../../src/core/service-url.js'

const parse = (text: string): ReturnType<typeof parseServiceUrl> => parseServiceUrl(text, 5672, 'url')

/** `user|password@host:port` of each host. */
const hosts = (text: string): readonly string[] =>
  parse(text).hosts.map(
    ({ endpoint, username, password }) => `${username ?? '-'}|${password ?? '-'}@${formatEndpoint(endpoint)}`,
  )

describe('parseServiceUrl()', () => {
  test.each([
    ['one host', 'rabbit://u:p@h1:5673/vh', ['u|p@h1:5673']],
    ['the default port', 'rabbit://u:p@h1', ['u|p@h1:5672']],
    ['several hosts', 'rabbit://u:p@h1:1,v:q@h2:2/', ['u|p@h1:1', 'v|q@h2:2']],
    ['credentials per host, not inherited', 'rabbit://u:p@h1,h2', ['u|p@h1:5672', '-|-@h2:5672']],
    ['a user without a password', 'rabbit://u@h1', ['u|-@h1:5672']],
    ['an empty password', 'rabbit://u:@h1', ['u|@h1:5672']],
    ['the last @ as the separator', 'rabbit://user@realm:pw@h1', ['user@realm|pw@h1:5672']],
    ['the first colon as the end of the user', 'rabbit://u:p:q@h1', ['u|p:q@h1:5672']],
    ['percent-encoding, decoded once', 'rabbit://u%2525:p%2F%40%2C%3A%23%3F@h1', ['u%25|p/@,:#?@h1:5672']],
    ['a plus sign as itself', 'rabbit://u:p+q@h1', ['u|p+q@h1:5672']],
    [
      'a % that begins no escape as itself, as Python does',
      'rabbit://u:100%@h1,u:%zz%4@h2',
      ['u|100%@h1:5672', 'u|%zz%4@h2:5672'],
    ],
    ['UTF-8', 'rabbit://%C3%A9:%E2%82%AC@h1', ['é|€@h1:5672']],
    ['empty elements, skipped', 'rabbit://h1,,h2,', ['-|-@h1:5672', '-|-@h2:5672']],
    ['IPv6', 'rabbit://u:p@[::1]:1,[2001:db8::2]/vh', ['u|p@[::1]:1', '-|-@[2001:db8::2]:5672']],
    ['an empty port', 'rabbit://h1:,[::1]:/vh', ['-|-@h1:5672', '-|-@[::1]:5672']],
    ['no hosts', 'rabbit://', []],
    ['no hosts but a path', 'rabbit:///vh', []],
    ['a fragment, cut off', 'rabbit://h1#u:p@h2', ['-|-@h1:5672']],
  ])('reads %s', (_, text, expected) => {
    expect(hosts(text)).toEqual(expected)
  })

  test.each([
    ['rabbit://h1', undefined],
    ['rabbit://h1/', ''],
    ['rabbit://h1//', '/'],
    ['rabbit://h1/nova', 'nova'],
    ['rabbit://h1/%2Fx', '/x'],
    ['rabbit://h1//x', '/x'],
    ['rabbit://h1/a/b', 'a/b'],
    ['rabbit://h1/a%20b%2525', 'a b%25'],
    ['rabbit://h1/nova?ssl=1', 'nova'],
    ['rabbit://h1/nova#x', 'nova'],
    ['rabbit://h1?ssl=1', undefined],
  ])('takes the path of %s for %j', (text, path) => {
    expect(parse(text).path).toBe(path)
  })

  test('reads the query: keys and values decoded, repeated keys joined, blank values dropped', () => {
    const { query } = parse('rabbit://h1/vh?ssl=1&a=x&a=y&blank=&none&p%20q=r+s%2B&eq=a=b&&=z#f')
    expect([...query]).toEqual([
      ['ssl', '1'],
      ['a', 'x,y'],
      ['p q', 'r s+'],
      ['eq', 'a=b'],
    ])
  })

  test('takes the scheme in any case, with a driver name', () => {
    expect(parse('MySQL+PyMySQL://h1/nova').scheme).toBe('mysql+pymysql')
  })

  test.each([
    ['no scheme', 'h1:5672/vh'],
    ['a scheme that was forgotten', 'u:p@h/vh'],
    ['an empty text', ''],
    ['one slash', 'rabbit:/h1'],
    ['a port that is no number', 'rabbit://h1:amqp/vh'],
    ['a port that is too large', 'rabbit://h1:65536/vh'],
    ['a bare IPv6 address', 'rabbit://::1/vh'],
    ['a host that is empty', 'rabbit://u:p@/vh'],
    ['a host that is empty with a port', 'rabbit://:5672/vh'],
    ['bytes that are no UTF-8', 'rabbit://u:%E9@h1'],
    ['a blank before a host', 'rabbit://h1, h2'],
  ])('refuses %s', (_, text) => {
    expect(() => parse(text)).toThrow(InvalidOptionError)
    expect(() => parse(text)).toThrow("option 'url'")
  })

  test.each([
    'u:s3cret/x@h1',
    'u:s3cret,x@h1',
    'u:s3cret?x@h1',
    'u:s3cret#x@h1',
    'u:a:s3cret,x@h1',
    'u:[s3cret]/@h1',
    '[s3cret]:1,x@h1',
  ])('does not quote a password that was not percent-encoded: %s', (authority) => {
    const problem = ((): unknown => {
      try {
        return parse(`rabbit://${authority}/vh`)
      } catch (error) {
        return error
      }
    })()
    expect(problem).toBeInstanceOf(InvalidOptionError)
    expect(String(problem)).not.toContain('s3cret')
  })
})

describe('checkScheme()', () => {
  test('names the schemes that are allowed', () => {
    const url = parse('amqp://h1')
    expect(() => checkScheme(url, ['rabbit', 'kombu+rabbit'], 'url')).toThrow(
      "option 'url' has the scheme 'amqp', expected 'rabbit://' or 'kombu+rabbit://'",
    )
    expect(() => checkScheme(url, ['amqp'], 'url')).not.toThrow()
  })
})
