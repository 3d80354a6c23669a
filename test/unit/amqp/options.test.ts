import { describe, expect, test } from 'vitest'
import { createTransport } from '../../../src/amqp/index.js'
import { resolveHostList, resolveTransportOptions, type TransportOptions } from '../../../src/amqp/options.js'
import { InvalidOptionError } from '../../../src/core/errors.js'

const hosts = ['127.0.0.1:1']
const resolve = (options: TransportOptions): ReturnType<typeof resolveTransportOptions> =>
  resolveTransportOptions({ env: {}, ...options })

describe('the options of a transport', () => {
  test('refuse an overflow that does not exist, and a largest message of nothing', () => {
    expect(() => resolve({ hosts, overflow: 'drop' as never })).toThrow(InvalidOptionError)
    expect(() => resolve({ hosts, maxMessageBytes: 0 })).toThrow(InvalidOptionError)
  })

  test('have the documented defaults', () => {
    expect(resolve({ hosts })).toEqual({
      defaultPort: 5672,
      hosts: [{ endpoint: { host: '127.0.0.1', port: 1 }, username: 'guest', password: 'guest' }],
      vhost: '/',
      credentials: undefined,
      tls: undefined,
      maxRetries: Infinity,
      retryIntervalMs: 1000,
      retryBackoffMs: 2000,
      retryIntervalMaxMs: 5000,
      reconnectSplayMs: 100,
      failoverStrategy: 'shuffle',
      heartbeatMs: 10_000,
      connectTimeoutMs: 3000,
      publishTimeoutMs: 30_000,
      maxOutboxMessages: 10_000,
      maxOutboxBytes: 16 * 1024 * 1024,
      overflow: 'reject',
      maxMessageBytes: 16_777_216,
      standby: true,
      prefetch: 64,
      localAddress: undefined,
      connectionName: 'openstack-ha',
      oslo: {
        controlExchange: 'openstack',
        rpcResponseTimeoutMs: 60_000,
        amqpDurableQueues: false,
        amqpAutoDelete: false,
        rabbitQuorumQueue: false,
        rabbitQuorumDeliveryLimit: 0,
        rabbitTransientQuorumQueue: false,
        rabbitStreamFanout: false,
        rabbitTransientQueuesTtlMs: 1_800_000,
        kombuCompression: undefined,
        missingConsumerRetryTimeoutMs: 60_000,
        rpcPingEnabled: false,
        notificationDrivers: ['messagingv2'],
        notificationTopics: ['notifications'],
        notificationRetry: -1,
        bigIntegers: false,
      },
      notifications: undefined,
    })
  })

  test.each<[string, object]>([
    ['kombuCompression', { hosts: ['h'], kombuCompression: 'bz2' }],
    ['notificationDrivers', { hosts: ['h'], notificationDrivers: ['log'] }],
    ['notificationRetry', { hosts: ['h'], notificationRetry: -2 }],
    ['notificationUrl', { hosts: ['h'], notificationUrl: 'mysql://h' }],
    ['notificationUrl', { hosts: ['h'], notificationUrl: 5 }],
    ['notificationUrl', { hosts: ['h'], notificationUrl: 'rabbit://h?nonsense=1' }],
    [
      'OS_OSLO_MESSAGING_NOTIFICATIONS__TRANSPORT_URL',
      { hosts: ['h'], env: { OS_OSLO_MESSAGING_NOTIFICATIONS__TRANSPORT_URL: 'rabbit://h,h' } },
    ],
    ['rabbitStreamFanout', { hosts: ['h'], rabbitStreamFanout: true }],
    ['hosts', {}],
    ['hosts', { hosts: [] }],
    ['hosts', { hosts: ['h', 'h:5672'] }],
    ['hosts', { hosts: [{ host: 'h', port: 70_000 }] }],
    ['hosts', { hosts: [7] }],
    ['url', { url: 'mysql://h' }],
    ['url', { url: 'rabbit://h:x' }],
    ['url', { url: 5 }],
    ['url', { url: 'rabbit://h?rabbit_nonsense=1' }],
    ['url', { url: 'rabbit://h?control_exchange=nova' }],
    ['OS_OSLO_MESSAGING_RABBIT__SSL', { url: 'rabbit://h?ssl=perhaps' }],
    ['OS_OSLO_MESSAGING_RABBIT__SSL_CA_FILE', { url: 'rabbit://h?ssl=1&ssl_ca_file=/nowhere' }],
    ['tls', { hosts, tls: 'yes' }],
    ['credentials', { hosts, credentials: {} }],
    ['maxRetries', { hosts, maxRetries: -1 }],
    ['vhost', { hosts, vhost: 1 }],
    ['username', { hosts, username: {} }],
    ['password', { hosts, password: 1 }],
    ['retryIntervalMs', { hosts, retryIntervalMs: 0 }],
    ['retryBackoffMs', { hosts, retryBackoffMs: -1 }],
    ['retryIntervalMaxMs', { hosts, retryIntervalMaxMs: Number.NaN }],
    ['reconnectSplayMs', { hosts, reconnectSplayMs: -1 }],
    ['failoverStrategy', { hosts, failoverStrategy: 'random' }],
    ['heartbeatMs', { hosts, heartbeatMs: 1500 }],
    ['heartbeatMs', { hosts, heartbeatMs: -1000 }],
    ['connectTimeoutMs', { hosts, connectTimeoutMs: 0 }],
    ['publishTimeoutMs', { hosts, publishTimeoutMs: '5s' }],
    ['publishTimeoutMs', { hosts, publishTimeoutMs: 2 ** 31 }],
    ['maxOutboxMessages', { hosts, maxOutboxMessages: 0 }],
    ['maxOutboxBytes', { hosts, maxOutboxBytes: 1.5 }],
    ['prefetch', { hosts, prefetch: 70_000 }],
    ['localAddress', { hosts, localAddress: 'eth0' }],
    ['connectionName', { hosts, connectionName: 1 }],
    ['hearbeatMs', { hosts, hearbeatMs: 1000 }],
  ])('are refused at once for a bad %s', (option, options) => {
    expect(() => createTransport({ env: {}, ...options })).toThrow(
      expect.objectContaining({ code: 'HA_INVALID_OPTION', option }) as Error,
    )
  })

  test('of notifications are their own where they connect, and the same in everything else', () => {
    const env = {
      OS_DEFAULT__TRANSPORT_URL: 'rabbit://u:p@h1,u:p@h2/nova?heartbeat_timeout_threshold=20',
      OS_OSLO_MESSAGING_NOTIFICATIONS__TRANSPORT_URL: 'rabbit://n:q@h3/events?rabbit_retry_interval=3',
      OS_OSLO_MESSAGING_RABBIT__KOMBU_RECONNECT_SPLAY: '0.5',
    }
    const { notifications, ...main } = resolve({ env, username: 'other', controlExchange: 'nova' })
    expect(main).toMatchObject({ vhost: 'nova', heartbeatMs: 20_000, retryIntervalMs: 1000, reconnectSplayMs: 500 })
    expect(main.hosts.map(({ username }) => username)).toEqual(['other', 'other'])
    expect(notifications).toMatchObject({
      hosts: [{ endpoint: { host: 'h3', port: 5672 }, username: 'n', password: 'q' }],
      vhost: 'events',
      heartbeatMs: 10_000,
      retryIntervalMs: 3000,
      reconnectSplayMs: 500,
      oslo: { controlExchange: 'nova' },
      notifications: undefined,
    })
    expect(resolve({ hosts, notificationUrl: 'rabbit://h4' }).notifications?.hosts).toMatchObject([
      { endpoint: { host: 'h4' }, username: 'guest' },
    ])
  })

  test('come from the environment, which the URL query overrides, which code overrides', () => {
    const env = {
      OS_DEFAULT__TRANSPORT_URL: 'rabbit://u:p@h1,u:p@h2/nova?rabbit_retry_interval=3&heartbeat_timeout_threshold=20',
      OS_OSLO_MESSAGING_RABBIT__RABBIT_RETRY_INTERVAL: '2',
      OS_OSLO_MESSAGING_RABBIT__KOMBU_RECONNECT_SPLAY: '0.5',
      OS_OSLO_MESSAGING_RABBIT__KOMBU_FAILOVER_STRATEGY: 'round-robin',
      OS_OSLO_MESSAGING_RABBIT__RABBIT_QOS_PREFETCH_COUNT: '0',
    }
    expect(resolve({ env, heartbeatMs: 5000 })).toMatchObject({
      vhost: 'nova',
      retryIntervalMs: 3000,
      reconnectSplayMs: 500,
      failoverStrategy: 'round-robin',
      heartbeatMs: 5000,
      prefetch: 64,
    })
  })

  test('name the variable that a bad value came from', () => {
    const env = { OS_DEFAULT__TRANSPORT_URL: 'rabbit://h', OS_OSLO_MESSAGING_RABBIT__KOMBU_FAILOVER_STRATEGY: 'x' }
    expect(() => resolve({ env })).toThrow(/OS_OSLO_MESSAGING_RABBIT__KOMBU_FAILOVER_STRATEGY/)
    expect(() => resolve({ env: { OS_DEFAULT__TRANSPORT_URL: 'http://h' } })).toThrow(/OS_DEFAULT__TRANSPORT_URL/)
  })

  test('read another section when a group is given', () => {
    const env = { OS_NOTIFY__RABBIT_RETRY_INTERVAL: '4' }
    expect(resolve({ env, hosts, group: 'notify' }).retryIntervalMs).toBe(4000)
  })

  test('replace the hosts of the URL and keep its credentials and virtual host', () => {
    const resolved = resolve({ url: 'rabbit://u1:p1@h1,u2:p2@h2/nova', hosts: ['h2', 'h3:5673'] })
    expect(resolved.vhost).toBe('nova')
    expect(resolved.hosts).toMatchObject([
      { endpoint: { host: 'h2' }, username: 'u2', password: 'p2' },
      { endpoint: { host: 'h3', port: 5673 }, username: 'u1', password: 'p1' },
    ])
  })

  test('let user name and password win over those of the URL', () => {
    const { hosts: resolved } = resolve({ url: 'rabbit://u1:p1@h1', username: 'me', password: 'mine' })
    expect(resolved[0]).toMatchObject({ username: 'me', password: 'mine' })
  })

  test('are all frozen', () => {
    const resolved = resolve({ hosts })
    expect(Object.isFrozen(resolved) && Object.isFrozen(resolved.hosts) && Object.isFrozen(resolved.hosts[0])).toBe(
      true,
    )
  })

  test('never show a password in an error', () => {
    const url = 'rabbit://u:s3cret@h1?unknown_option=1'
    expect(() => resolve({ url })).toThrow(InvalidOptionError)
    expect(() => resolve({ url })).not.toThrow(/s3cret/)
  })

  test.each([
    ['amqps://h1/', 5671],
    ['amqp://h1/', 5672],
  ])('have one port for all hosts that are given without one: %s', (url, port) => {
    const options = resolve({ url })
    const later = resolveHostList(['h1', 'h2', 'h3:7'], options.hosts, options.defaultPort)
    expect(options.hosts.map(({ endpoint }) => endpoint.port)).toEqual([port])
    expect(later.map(({ endpoint }) => endpoint.port)).toEqual([port, port, 7])
  })
})
