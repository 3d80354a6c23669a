import { join } from 'node:path'
import { node, nodes } from './address.js'
import { nodeDir, type Settings } from './state.js'

/** The configuration file of one Galera node. */
export function galeraConfig(n: number, settings: Settings): string {
  const { host, port } = node('galera', n)
  const dir = nodeDir('galera', n)
  const provider = {
    'gmcast.listen_addr': `tcp://${host}:4567`,
    'ist.recv_addr': `${host}:4568`,
    'gcache.size': '32M',
    ...failureDetection(settings),
    // A node that was started alone must not give up before the one it waits for is started, too.
    'pc.wait_prim_timeout': 'PT10M',
  }
  return ini({
    user: 'mysql',
    datadir: join(dir, 'data'),
    socket: join(dir, 'mysqld.sock'),
    'pid-file': join(dir, 'mysqld.pid'),
    'bind-address': host,
    port: String(port),
    'skip-name-resolve': '1',
    max_connections: '500',
    performance_schema: 'OFF',
    binlog_format: 'ROW',
    innodb_autoinc_lock_mode: '2',
    // 0 would lose the last second when all nodes are killed; 2 survives everything but the machine's own end.
    innodb_flush_log_at_trx_commit: '2',
    innodb_buffer_pool_size: '64M',
    wsrep_on: 'ON',
    wsrep_provider: '/usr/lib/galera/libgalera_smm.so',
    wsrep_cluster_name: 'openstack-ha',
    wsrep_cluster_address: `gcomm://${nodes('galera')
      .map((peer) => peer.host)
      .join(',')}`,
    wsrep_node_name: host,
    wsrep_node_address: host,
    wsrep_sst_method: 'rsync',
    wsrep_sst_receive_address: `${host}:4444`,
    wsrep_provider_options: `"${providerOptions(provider)}"`,
    // Clients that ask for TLS get it; the others notice nothing.
    ssl_cert: certificateFile(n),
    ssl_key: keyFile(n),
  })
}

/** Where a node finds its certificate, and the key of it. */
export function certificateFile(n: number): string {
  return join(nodeDir('galera', n), 'server-cert.pem')
}

export function keyFile(n: number): string {
  return join(nodeDir('galera', n), 'server-key.pem')
}

/** Galera's failure detection. */
export function failureDetection({ suspectTimeoutMs }: Settings): Readonly<Record<string, string>> {
  return {
    'evs.inactive_timeout': `PT${String((2 * suspectTimeoutMs) / 1000)}S`,
    'evs.suspect_timeout': `PT${String(suspectTimeoutMs / 1000)}S`,
  }
}

/** Galera's own notation for its options. */
export function providerOptions(options: Readonly<Record<string, string>>): string {
  return Object.entries(options)
    .map(([name, value]) => `${name}=${value}`)
    .join(';')
}

/** The accounts and the database of a new cluster; run while no grant table is loaded yet. */
export const INITIAL_SQL = `
FLUSH PRIVILEGES;
CREATE USER 'root'@'%';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
CREATE DATABASE ha_test;
CREATE USER 'ha_test'@'%' IDENTIFIED BY 'ha_secret';
GRANT ALL ON ha_test.* TO 'ha_test'@'%';
CREATE USER 'ha_dml'@'%' IDENTIFIED BY 'ha_secret';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON ha_test.* TO 'ha_dml'@'%';
`

function ini(values: Readonly<Record<string, string>>): string {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}`)
  // A server with a certificate wants stunnel for its state transfers, unless it is told otherwise.
  return `[mysqld]\n${lines.join('\n')}\n[sst]\nssl-mode=DISABLED\n`
}
