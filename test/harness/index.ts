/**
 * Measures how clients behave while real clusters are broken: numbered operations, gaps against an oracle in the same
 * run, and a comparison of what callers were told with what the servers have. Used by tests, demo, benchmarks and chaos.
 */
export { chaos, type ChaosFault, type ChaosOptions, type ChaosResult, chaosViolations } from './chaos.js'
export { connections } from './connections.js'
export { FAULTS, type Fault, type FaultName, isFaultName, type Target } from './fault.js'
export { type Gap, longestGap, percentile, type Window } from './gap.js'
export { Haproxy, type HaproxyOptions } from './haproxy.js'
export { hostList, nextNode, nodeInUse } from './in-use.js'
export { type Differences, Ledger } from './ledger.js'
export { MysqlScene, type MysqlSceneOptions } from './mysql-scene.js'
export { adminSql, connectSql, SQL_ACCOUNT } from './mysql-admin.js'
export { AmqpScene, type AmqpSceneOptions } from './amqp-scene.js'
export { MemcachedScene, type MemcachedSceneOptions } from './memcached-scene.js'
export { type NodeAnswer, probeNode } from './node-probe.js'
export { type Operation, operation, type Outcome, parseOperation } from './operation.js'
export { Random } from './random.js'
export { codeOf, type Latency, Recorder } from './recorder.js'
export { errorCount, type Evidence, type LoadResult, type RunResult, violations } from './result.js'
export { clusterSettings, measure, type RunOptions } from './run.js'
export type { Findings, Oracle, Scene, SideLoad } from './scene.js'
export type { CacheSubject, MessagePlace, MessageSubject, ReportedFailover, SqlPlace, SqlSubject, Subject } from './subject.js' // prettier-ignore
export { OurAmqp } from './subjects/amqp.js'
export { OurMemcached } from './subjects/memcached.js'
export { OurMysql, type MysqlMode } from './subjects/mysql.js'
export { watchUnhandled, type UnhandledWatch } from './unhandled.js'
export { type Load, Workload } from './workload.js'
