/**
 * Starts and breaks real clusters on loopback addresses: Galera, RabbitMQ and memcached.
 *
 * Needs root. State is found in the processes and in the firewall themselves, so that the command line,
 * test runs and benchmarks can take turns.
 */
export { KINDS, type Kind, node, type NodeAddress, nodes } from './address.js'
export { type BlackholeOptions } from './faults.js'
export { alarm, blackhole, delay, freeze, kill, partition, reset, stop, thaw } from './break.js'
export { RABBIT_TLS_PORT } from './rabbit.js'
export { claim, down, heal, start, up, type UpOptions, type UpResult, type VerbOptions, whole } from './mend.js'
export { type ClusterStatus, type KindStatus, type NodeStatus, status } from './status.js'
export { type Settings, stateDir } from './state.js'
export { type Progress } from './wait.js'
