import {
  AmqpScene,
  type AmqpSceneOptions,
  type CacheSubject,
  MemcachedScene,
  MysqlScene,
  OurMemcached,
  OurMysql,
  type Scene,
  OUR_ADDRESS,
  type SqlSubject,
} from '../test/harness/index.js'
import type { Kind } from '../test/cluster/index.js'
import { MESSAGE_CLIENTS, messageSubject } from './amqp-clients.js'
import { Mysql2BehindHaproxy } from './peers/haproxy.js'
import { MariadbCluster } from './peers/mariadb.js'
import { Memcache } from './peers/memcache.js'
import { MemcacheClient } from './peers/memcache-client.js'
import { Memcached } from './peers/memcached.js'
import { Memjs } from './peers/memjs.js'
import { Mysql2Cluster } from './peers/mysql2.js'

/** The words of the command line. */
export type Service = 'mysql' | 'amqp' | 'memcached'

export const KIND_OF: Readonly<Record<Service, Kind>> = { mysql: 'galera', amqp: 'rabbit', memcached: 'memcached' }

const AMQP_CLIENTS = new URL('amqp-clients.ts', import.meta.url).href

const mysql = (make: () => SqlSubject) => (): Scene => new MysqlScene(make())
const amqp =
  (client: string) =>
  (options: Partial<AmqpSceneOptions> = {}): Scene =>
    new AmqpScene(messageSubject(client), { ...options, module: AMQP_CLIENTS, client })
const memcached = (make: () => CacheSubject) => (): Scene => new MemcachedScene(make())

/** The situation is only the broker's clients' to choose. */
export type MakeScene = (options?: Partial<AmqpSceneOptions>) => Scene

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
  amqp: Object.fromEntries(Object.keys(MESSAGE_CLIENTS).map((client) => [client, amqp(client)])),
  memcached: {
    ours: memcached(() => new OurMemcached(OUR_ADDRESS)),
    memjs: memcached(() => new Memjs()),
    memcached: memcached(() => new Memcached()),
    memcache: memcached(() => new Memcache()),
    'memcache-client': memcached(() => new MemcacheClient()),
  },
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
