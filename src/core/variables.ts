/** The three clients, as the table of variables names them. @internal */
export type Service = 'mysql' | 'amqp' | 'memcached'

/** One environment variable. @internal */
export interface EnvironmentVariable {
  readonly service: Service
  /** oslo.config section, lower case. */
  readonly group: string
  /** True for the section that the option `group` replaces. */
  readonly main?: true
  /** oslo.config option, lower case. */
  readonly option: string
  /** Name of the option in code. */
  readonly code: string
  /** `seconds` become milliseconds in code. */
  readonly type: 'string' | 'list' | 'integer' | 'seconds' | 'boolean'
  /** What it does, for the README. */
  readonly what: string
}

type Row = readonly [option: string, code: string, type: EnvironmentVariable['type'], what: string]

function section(service: Service, group: string, rows: readonly Row[], main?: true): readonly EnvironmentVariable[] {
  return rows.map(([option, code, type, what]) =>
    Object.freeze({ service, group, option, code, type, what, ...(main === undefined ? {} : { main }) }),
  )
}

/**
 * Every environment variable that the package reads; the README's table is generated from it.
 *
 * The names are those of oslo.config's environment driver, so that a Node service reads the variables of its Python
 * neighbours.
 * @internal
 */
export const VARIABLES: readonly EnvironmentVariable[] = Object.freeze([
  ...section(
    'mysql',
    'database',
    [
      ['connection', 'url', 'string', 'URL, several hosts allowed: `mysql+pymysql://user:password@h1,h2:3307/nova`'],
      ['hosts', 'hosts', 'list', "host list in order of preference, replaces the URL's hosts (ours)"],
      ['max_pool_size', 'connectionLimit', 'integer', 'connections per node'],
      ['pool_timeout', 'acquireTimeoutMs', 'seconds', 'longest wait for a connection'],
      ['connection_recycle_time', 'maxLifetimeMs', 'seconds', 'longest life of a connection'],
      ['mysql_sql_mode', 'sqlMode', 'string', 'SQL mode of every connection'],
      ['mysql_wsrep_sync_wait', 'wsrepSyncWait', 'integer', 'causal reads: `wsrep_sync_wait` of every connection'],
      ['db_max_retries', 'maxRetries', 'integer', 'how often a transaction is run again'],
      ['db_retry_interval', 'retryIntervalMs', 'seconds', 'first pause between retries after a deadlock'],
      ['db_max_retry_interval', 'maxRetryIntervalMs', 'seconds', 'longest pause between retries'],
    ],
    true,
  ),
  ...section('amqp', 'default', [
    ['transport_url', 'url', 'string', 'transport URL: `rabbit://u:p@h1:5672,u:p@h2:5672/vhost`'],
    ['control_exchange', 'controlExchange', 'string', 'exchange of topics whose target names none'],
    ['rpc_response_timeout', 'rpcResponseTimeoutMs', 'seconds', 'time limit of a call'],
    ['rpc_ping_enabled', 'rpcPingEnabled', 'boolean', 'servers answer `oslo_rpc_server_ping`'],
  ]),
  ...section(
    'amqp',
    'oslo_messaging_rabbit',
    [
      ['rabbit_retry_interval', 'retryIntervalMs', 'seconds', 'pause after every host was tried once'],
      ['rabbit_retry_backoff', 'retryBackoffMs', 'seconds', 'what the pause grows by per round'],
      ['rabbit_interval_max', 'retryIntervalMaxMs', 'seconds', 'longest pause'],
      ['kombu_reconnect_splay', 'reconnectSplayMs', 'seconds', 'the first attempt waits a random part of this'],
      ['kombu_failover_strategy', 'failoverStrategy', 'string', '`shuffle` or `round-robin`'],
      ['heartbeat_timeout_threshold', 'heartbeatMs', 'seconds', 'heartbeat, whole seconds'],
      ['ssl', 'tls', 'boolean', 'TLS on every connection (the port stays 5672 unless it is given)'],
      ['ssl_ca_file', 'tls.ca', 'string', "file with the certificates to trust, instead of the system's"],
      ['ssl_cert_file', 'tls.cert', 'string', "file with the client's certificate"],
      ['ssl_key_file', 'tls.key', 'string', 'file with its key'],
      ['amqp_durable_queues', 'amqpDurableQueues', 'boolean', 'topics and notifications: durable queues'],
      ['amqp_auto_delete', 'amqpAutoDelete', 'boolean', 'topics and notifications: queues that vanish when unused'],
      ['rabbit_quorum_queue', 'rabbitQuorumQueue', 'boolean', 'topics and notifications: quorum queues'],
      ['rabbit_quorum_delivery_limit', 'rabbitQuorumDeliveryLimit', 'integer', 'their `x-delivery-limit`; 0: none'],
      ['rabbit_transient_quorum_queue', 'rabbitTransientQuorumQueue', 'boolean', 'durable exchanges for fanout'],
      ['rabbit_stream_fanout', 'rabbitStreamFanout', 'boolean', 'fanout by a stream that all servers read'],
      [
        'rabbit_transient_queues_ttl',
        'rabbitTransientQueuesTtlMs',
        'seconds',
        'life of an unused reply or fanout queue',
      ],
      ['kombu_compression', 'kombuCompression', 'string', 'compression of what is sent: `gzip`'],
      [
        'kombu_missing_consumer_retry_timeout',
        'missingConsumerRetryTimeoutMs',
        'seconds',
        'how long a reply is tried that reaches no queue',
      ],
      ['rabbit_qos_prefetch_count', 'prefetch', 'integer', 'unacknowledged messages per consumer'],
    ],
    true,
  ),
  ...section('amqp', 'oslo_messaging_notifications', [
    ['transport_url', 'notificationUrl', 'string', 'transport URL for notifications alone'],
    ['driver', 'notificationDrivers', 'list', 'formats of notifications: `messagingv2`, `messaging`, `noop`'],
    ['topics', 'notificationTopics', 'list', 'topics to which notifications are sent'],
    [
      'retry',
      'notificationRetry',
      'integer',
      'how often a notification that failed is tried again; -1: until its limit',
    ],
  ]),
  ...section(
    'memcached',
    'cache',
    [
      ['memcache_servers', 'servers', 'list', 'nodes: `h1:11211,h2:11211`'],
      ['memcache_dead_retry', 'deadRetryMs', 'seconds', 'longest pause between probes of a dead node'],
      ['memcache_socket_timeout', 'operationTimeoutMs', 'seconds', 'time limit of one operation'],
      ['memcache_pool_maxsize', 'connectionsPerNode', 'integer', 'sockets per node'],
      ['expiration_time', 'ttlSeconds', 'integer', 'default time to live, seconds'],
      ['memcache_username', 'username', 'string', 'user name, for servers that want one'],
      ['memcache_password', 'password', 'string', 'password'],
      ['tls_enabled', 'tls', 'boolean', 'TLS on every connection'],
      ['tls_cafile', 'tls.ca', 'string', "file with the certificates to trust, instead of the system's"],
      ['tls_certfile', 'tls.cert', 'string', "file with the client's certificate"],
      ['tls_keyfile', 'tls.key', 'string', 'file with its key'],
      ['tls_allowed_ciphers', 'tls.ciphers', 'string', 'ciphers that may be used'],
    ],
    true,
  ),
])
