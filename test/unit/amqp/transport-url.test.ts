import { describe, expect, test } from 'vitest'
import { parseTransportUrl } from '../../../src/amqp/transport-url.js'
import { InvalidOptionError } from '../../../src/core/errors.js'

const parse = (url: string): ReturnType<typeof parseTransportUrl> => parseTransportUrl(url, 'url')

describe('a transport URL', () => {
  test('names several hosts, each with its own credentials', () => {
    const { hosts, vhost } = parse('rabbit://u1:p1@h1:5673,u2:p2@h2/nova')
    expect(hosts).toEqual([
      { endpoint: { host: 'h1', port: 5673 }, username: 'u1', password: 'p1' },
      { endpoint: { host: 'h2', port: 5672 }, username: 'u2', password: 'p2' },
    ])
    expect(vhost).toBe('nova')
  })

  test('gives guest to a host without credentials, and not those of its neighbour', () => {
    const { hosts } = parse('rabbit://u:p@h1,h2')
    expect(hosts[1]).toMatchObject({ username: 'guest', password: 'guest' })
  })

  test('gives guest for a password or a user that is empty, as kombu does', () => {
    for (const url of ['rabbit://u@h1', 'rabbit://u:@h1']) {
      expect(parse(url).hosts[0]).toMatchObject({ username: 'u', password: 'guest' })
    }
    expect(parse('rabbit://:p@h1').hosts[0]).toMatchObject({ username: 'guest', password: 'p' })
  })

  test('percent-decodes user and password once', () => {
    const { hosts } = parse('rabbit://us%40er:p%2Fa%3As%23s%2525@h1')
    expect(hosts[0]).toMatchObject({ username: 'us@er', password: 'p/a:s#s%25' })
  })

  test('splits a host at its last @, so that a realm may stand in the user', () => {
    expect(parse('rabbit://user@realm:pw@h1').hosts[0]).toMatchObject({ username: 'user@realm', password: 'pw' })
  })

  test('takes IPv6 in brackets and skips empty elements', () => {
    const names = parse('rabbit://[::1]:5673,,[fe80::1]').hosts.map(({ endpoint }) => endpoint)
    expect(names).toEqual([
      { host: '::1', port: 5673 },
      { host: 'fe80::1', port: 5672 },
    ])
  })

  test.each([
    ['rabbit://h', '/'],
    ['rabbit://h/', '/'],
    ['rabbit://h//', '/'],
    ['rabbit://h/%2F', '/'],
    ['rabbit://h/nova', 'nova'],
    ['rabbit://h/%2Fx', '/x'],
    ['rabbit://h//x', '/x'],
    ['rabbit://h/a/b', 'a/b'],
    ['rabbit://h/n%20v', 'n v'],
    ['rabbit://h/n%252Fv', 'n%2Fv'],
    ['rabbit://h/nova#fragment', 'nova'],
  ])('%s means the virtual host %s', (url, vhost) => {
    expect(parse(url).vhost).toBe(vhost)
  })

  test.each(['rabbit', 'RABBIT', 'amqp', 'amqps', 'kombu', 'kombu+rabbit', 'kombu+amqp', 'kombu+pyamqp'])(
    'may have the scheme %s',
    (scheme) => {
      expect(parse(`${scheme}://h`).hosts).toHaveLength(1)
    },
  )

  test.each(['rabbit://', 'rabbit:///nova', 'rabbit://,,/nova'])('without a host means this machine: %s', (url) => {
    expect(parse(url).hosts).toEqual([
      { endpoint: { host: '127.0.0.1', port: 5672 }, username: 'guest', password: 'guest' },
    ])
  })

  test('takes an empty port for none', () => {
    expect(parse('rabbit://h1:').hosts[0]?.endpoint).toEqual({ host: 'h1', port: 5672 })
  })

  test('uses port 5672 unless it is amqps', () => {
    expect(parse('amqps://h1,h2:5672/')).toMatchObject({
      isSecure: true,
      hosts: [{ endpoint: { port: 5671 } }, { endpoint: { port: 5672 } }],
    })
    expect(parse('rabbit://h1/?ssl=1')).toMatchObject({ isSecure: false, hosts: [{ endpoint: { port: 5672 } }] })
  })

  test('joins repeated keys of its query and drops blank values', () => {
    expect([...parse('rabbit://h/?a=1&b=&a=2&c=x%2Cy').query]).toEqual([
      ['a', '1,2'],
      ['c', 'x,y'],
    ])
  })

  test.each([
    'u:p@h/v',
    'http://h',
    'kombu+memory://h',
    'kafka://h',
    'h1:5672',
    '',
    'rabbit://h:99999',
    'rabbit://h:port',
    'rabbit://h:0',
    'rabbit://::1',
    'rabbit://h1,h1:5672',
  ])('is refused at once: %s', (url) => {
    expect(() => parse(url)).toThrow(InvalidOptionError)
  })

  test.each(['http://u:s3cret@h', 'rabbit://u:s3cret@h:x', 'rabbit://u:s3cret@h,u:s3cret@h', 'rabbit://u:s3cret@h h'])(
    'is refused without quoting its password: %s',
    (url) => {
      expect(() => parse(url)).toThrow(InvalidOptionError)
      expect(() => parse(url)).not.toThrow(/s3cret/)
    },
  )
})
