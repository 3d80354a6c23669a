import {
  AmqpScene,
  type CacheSubject,
  MemcachedScene,
  type MessageSubject,
  MysqlScene,
  OurAmqp,
  OurMemcached,
  OurMysql,
  type Scene,
  type SqlSubject,
} from '../test/harness/index.js'
import type { Kind } from '../test/cluster/index.js'
import { AmqpConnectionManager } from './peers/amqp-connection-manager.js'
import { AmqplibRecovery } from './peers/amqplib.js'
import { Mysql2BehindHaproxy } from './peers/haproxy.js'
import { MariadbCluster } from './peers/mariadb.js'
import { Memcache } from './peers/memcache.js'
import { MemcacheClient } from './peers/memcache-client.js'
import { Memcached } from './peers/memcached.js'
import { Memjs } from './peers/memjs.js'
import { Mysql2Cluster } from './peers/mysql2.js'
import { RabbitmqClient } from './peers/rabbitmq-client.js'
import { Rascal } from './peers/rascal.js'

/** The words of the command line. */
export type Service = 'mysql' | 'amqp' | 'memcached'

export const KIND_OF: Readonly<Record<Service, Kind>> = { mysql: 'galera', amqp: 'rabbit', memcached: 'memcached' }

/** Source address of our own clients, so that a blackhole can be for them alone. */
export const OUR_ADDRESS = '127.0.9.1'

/** Makes one to be measured; workers as the scene has them unless given. */
type MakeScene = (workers?: number) => Scene

const mysql = (make: () => SqlSubject) => (): Scene => new MysqlScene(make())
const amqp = (make: () => MessageSubject) => (): Scene => new AmqpScene(make())
const memcached =
  (make: () => CacheSubject): MakeScene =>
  (workers) =>
    new MemcachedScene(make(), workers === undefined ? {} : { workers })

/** The cache clients themselves. */
export const CACHES: Readonly<Record<string, () => CacheSubject>> = {
  ours: () => new OurMemcached(OUR_ADDRESS),
  memjs: () => new Memjs(),
  memcached: () => new Memcached(),
  memcache: () => new Memcache(),
  'memcache-client': () => new MemcacheClient(),
}

/** Every client that is measured, by the name that the command line has for it; ours begin with `ours`. */
export const CATALOGUE: Readonly<Record<Service, Readonly<Record<string, MakeScene>>>> = {
  mysql: {
    'ours-query': mysql(() => new OurMysql('query', OUR_ADDRESS)),
    'ours-transaction': mysql(() => new OurMysql('transaction', OUR_ADDRESS)),
    'ours-exactly-once': mysql(() => new OurMysql('exactly-once', OUR_ADDRESS)),
    'ours-fast-probe': mysql(() => new OurMysql('exactly-once', OUR_ADDRESS, { probeTimeoutMs: 250 })),
    'mysql2-cluster': mysql(() => new Mysql2Cluster()),
    'mariadb-cluster': mysql(() => new MariadbCluster()),
    'mysql2-haproxy': mysql(() => new Mysql2BehindHaproxy(false)),
    'mysql2-haproxy-check': mysql(() => new Mysql2BehindHaproxy(true)),
  },
  amqp: {
    ours: amqp(() => new OurAmqp(OUR_ADDRESS)),
    'amqp-connection-manager': amqp(() => new AmqpConnectionManager()),
    'rabbitmq-client': amqp(() => new RabbitmqClient()),
    rascal: amqp(() => new Rascal()),
    'amqplib-recovery': amqp(() => new AmqplibRecovery()),
  },
  memcached: Object.fromEntries(Object.entries(CACHES).map(([name, make]) => [name, memcached(make)])),
}

/** The client that chaos is for, unless another one is asked for. */
export const CHAOS_CLIENT: Readonly<Record<Service, string>> = {
  mysql: 'ours-exactly-once',
  amqp: 'ours',
  memcached: 'ours',
}

/** Names that a list such as `ours,memjs` stands for; `none` leaves ours, and no list means everything. */
export function chosen(service: Service, list: string | undefined): readonly string[] {
  const all = Object.keys(CATALOGUE[service])
  const ours = all.filter(isOurs)
  if (list === undefined) return all
  return list.split(',').flatMap((word) => {
    if (word === 'ours' || word === 'none') return ours
    if (!all.includes(word)) throw new Error(`'${word}' is none of ${all.join(', ')}, ours, none`)
    return [word]
  })
}

export function isOurs(name: string): boolean {
  return name.startsWith('ours')
}
