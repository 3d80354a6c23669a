import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { InvalidOptionError } from '../../../src/core/errors.js'
import { createClient } from '../../../src/memcached/index.js'
import { resolveMemcachedOptions } from '../../../src/memcached/options.js'

const servers = 'h1'

describe('options of the memcached client', () => {
  test('defaults are those of the documentation', () => {
    expect(resolveMemcachedOptions({ servers, env: {} })).toEqual({
      servers: [{ host: 'h1', port: 11211, name: 'h1:11211', path: undefined, weight: 1 }],
      compat: 'ketama',
      ttlSeconds: 0,
      operationTimeoutMs: 250,
      connectTimeoutMs: 250,
      connectionsPerNode: 1,
      probeIntervalMs: 250,
      deadRetryMs: 5000,
      keyPrefix: '',
      maxValueBytes: 1048576,
      longKeys: 'hash',
      compressFromBytes: Infinity,
      rejoin: 'safe',
      warmUp: false,
      missWhenUnavailable: false,
      driver: 'auto',
      credentials: undefined,
      tls: undefined,
      lookup: undefined,
      localAddress: undefined,
    })
  })

  test("the variables of oslo.cache's environment are read, in seconds", () => {
    const env = {
      OS_CACHE__MEMCACHE_SERVERS: 'h1:11211, inet6:[::1]:11212',
      OS_CACHE__MEMCACHE_DEAD_RETRY: '30',
      OS_CACHE__MEMCACHE_SOCKET_TIMEOUT: '0.5',
      OS_CACHE__MEMCACHE_POOL_MAXSIZE: '2',
      OS_CACHE__EXPIRATION_TIME: '600',
      OS_CACHE__MEMCACHE_USERNAME: 'u',
      OS_CACHE__MEMCACHE_PASSWORD: 'p$$w',
      OS_CACHE__TLS_ENABLED: 'True',
      OS_CACHE__TLS_CAFILE: fileURLToPath(import.meta.url),
      OS_CACHE__TLS_ALLOWED_CIPHERS: 'HIGH',
    }
    expect(resolveMemcachedOptions({ env })).toMatchObject({
      servers: [
        { host: 'h1', port: 11211 },
        { host: '::1', port: 11212 },
      ],
      deadRetryMs: 30_000,
      operationTimeoutMs: 500,
      connectionsPerNode: 2,
      ttlSeconds: 600,
      credentials: { username: 'u', password: 'p$w' },
      tls: { ca: readFileSync(fileURLToPath(import.meta.url)), ciphers: 'HIGH' },
    })
  })

  test('a server may be a unix socket, and have a weight', () => {
    const given = ['/run/a.sock', 'unix:/run/b.sock', { host: 'h1', weight: 3 }]
    expect(resolveMemcachedOptions({ servers: given, env: {} }).servers).toMatchObject([
      { name: '/run/a.sock', path: '/run/a.sock' },
      { name: '/run/b.sock', path: '/run/b.sock' },
      { name: 'h1:11211', path: undefined, weight: 3 },
    ])
  })

  test('a host that is named like a family is a host', () => {
    expect(resolveMemcachedOptions({ servers: 'inet:11211', env: {} }).servers).toMatchObject([
      { host: 'inet', port: 11211 },
    ])
  })

  test.each<[string, Record<string, unknown>, string]>([
    ['no servers', { servers: undefined }, 'servers'],
    ['an empty list', { servers: [] }, 'servers'],
    ['a bad port', { servers: 'h1:0' }, 'servers'],
    ['a port that is no number', { servers: ['h1:x'] }, 'servers'],
    ['a server twice', { servers: ['h1', 'h1:11211'] }, 'servers'],
    ['servers that are a number', { servers: 1 }, 'servers'],
    ['an unknown option', { timeout: 1 }, 'timeout'],
    ['a negative duration', { operationTimeoutMs: -1 }, 'operationTimeoutMs'],
    ['an operation limit of 0', { operationTimeoutMs: 0 }, 'operationTimeoutMs'],
    ['a duration that is a string', { connectTimeoutMs: '1' }, 'connectTimeoutMs'],
    ['a probe interval of 0', { probeIntervalMs: 0 }, 'probeIntervalMs'],
    ['an endless pause', { deadRetryMs: Infinity }, 'deadRetryMs'],
    ['a negative time to live', { ttlSeconds: -1 }, 'ttlSeconds'],
    ['half a second to live', { ttlSeconds: 0.5 }, 'ttlSeconds'],
    ['no connections', { connectionsPerNode: 0 }, 'connectionsPerNode'],
    ['no bytes', { maxValueBytes: 0 }, 'maxValueBytes'],
    ['a prefix with a space', { keyPrefix: 'a b' }, 'keyPrefix'],
    ['a prefix that leaves no room', { keyPrefix: 'a'.repeat(201) }, 'keyPrefix'],
    ['another way with long keys', { longKeys: 'cut' }, 'longKeys'],
    ['another way to rejoin', { rejoin: 'hope' }, 'rejoin'],
    ['another driver', { driver: 'text' }, 'driver'],
    ['a weight of 0', { servers: [{ host: 'h1', weight: 0 }] }, 'servers'],
    ['weights with the rendezvous hash', { servers: [{ host: 'h1', weight: 2 }], compat: 'pymemcache' }, 'servers'],
    ['half a weight for libmemcached', { servers: [{ host: 'h1', weight: 1.5 }], compat: 'libmemcached' }, 'servers'],
    ['another mapping', { compat: 'modulo' }, 'compat'],
    ['another way without nodes', { whenUnavailable: 'hang' }, 'whenUnavailable'],
    ['a name without a password', { username: 'u' }, 'password'],
    ['a password without a name', { password: 'p' }, 'username'],
    ['TLS that is a string', { tls: 'yes' }, 'tls'],
    [
      'a file that is not there',
      { tls: true, env: { OS_CACHE__TLS_CAFILE: '/nowhere/ca.pem' } },
      'OS_CACHE__TLS_CAFILE',
    ],
    ['a look-up that is none', { lookup: 'dns' }, 'lookup'],
    ['a source that is no address', { localAddress: 'localhost' }, 'localAddress'],
  ])('%s is refused at once', (_what, given, option) => {
    let error: unknown
    try {
      createClient({ servers, env: {}, ...given })
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(InvalidOptionError)
    expect((error as InvalidOptionError).option).toBe(option)
  })

  test('a bad variable is named in the refusal', () => {
    expect(() => createClient({ env: { OS_CACHE__MEMCACHE_SERVERS: 'h1:99999' } })).toThrow(
      /'OS_CACHE__MEMCACHE_SERVERS' has .* port/,
    )
  })
})
