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
import { NodeCaller, NodeServer } from './rpc/node.js'
import type { Server } from './rpc/parties.js'
import { PythonCaller, PythonServer } from './rpc/python.js'
import { RpcScene, type RpcSceneOptions } from './rpc/scene.js'

/** The words of the command line. */
export type Service = 'mysql' | 'amqp' | 'memcached' | 'rpc'

export const KIND_OF: Readonly<Record<Service, Kind>> = {
  mysql: 'galera',
  amqp: 'rabbit',
  memcached: 'memcached',
  rpc: 'rabbit',
}

const AMQP_CLIENTS = new URL('amqp-clients.ts', import.meta.url).href

const mysql = (make: () => SqlSubject) => (): Scene => new MysqlScene(make())
const amqp =
  (client: string) =>
  (options: Partial<AmqpSceneOptions> = {}): Scene =>
    new AmqpScene(messageSubject(client), { ...options, module: AMQP_CLIENTS, client })
const memcached =
  (make: () => CacheSubject): MakeScene =>
  ({ workers } = {}) =>
    new MemcachedScene(make(), workers === undefined ? {} : { workers })
/** Callers in Node also show how new calls fare; Python's threads would all wait for answers that were lost. */
const node = (name: string, idempotent: boolean, server: () => Server): MakeScene => {
  return (options = {}) => new RpcScene(new NodeCaller(name, idempotent), server(), true, options)
}
const python = (name: string, server: () => Server): MakeScene => {
  return (options = {}) => new RpcScene(new PythonCaller(name), server(), false, options)
}

/** The cache clients themselves. */
export const CACHES: Readonly<Record<string, () => CacheSubject>> = {
  ours: () => new OurMemcached(OUR_ADDRESS),
  memjs: () => new Memjs(),
  memcached: () => new Memcached(),
  memcache: () => new Memcache(),
  'memcache-client': () => new MemcacheClient(),
}

/** The situation that a client is put in: the broker's clients know all of it, of the cache's only the workers. */
export type SceneOptions = Partial<AmqpSceneOptions> & RpcSceneOptions
export type MakeScene = (options?: SceneOptions) => Scene

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
  memcached: Object.fromEntries(Object.entries(CACHES).map(([name, make]) => [name, memcached(make)])),
  rpc: {
    ours: node('Node to Node', false, () => new NodeServer()),
    'ours-idempotent': node('Node to Node, idempotent', true, () => new NodeServer()),
    'ours-to-python': node('Node to Python', false, () => new PythonServer()),
    'ours-from-python': python('Python to Node', () => new NodeServer()),
    python: python('Python to Python', () => new PythonServer()),
  },
}

/** The client that chaos is for, unless another one is asked for. */
export const CHAOS_CLIENT: Readonly<Partial<Record<Service, string>>> = {
  mysql: 'ours-exactly-once',
  amqp: 'ours',
  memcached: 'ours',
}

/** Names that a list such as `ours,memjs` stands for; `none` leaves all of ours, `ours` too unless one has that name, and no list means everything. */
export function chosen(service: Service, list: string | undefined): readonly string[] {
  const all = Object.keys(CATALOGUE[service])
  const ours = all.filter(isOurs)
  if (list === undefined) return all
  return list.split(',').flatMap((word) => {
    if (all.includes(word)) return [word]
    if (word === 'ours' || word === 'none') return ours
    throw new Error(`'${word}' is none of ${all.join(', ')}, ours, none`)
  })
}

export function isOurs(name: string): boolean {
  return name.startsWith('ours')
}
