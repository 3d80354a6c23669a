import { IDENTITY, identityFrom, readValues } from './identity.js'

/** What one probe of a node returned. @internal */
export interface NodeReport {
  /** Which server it was that answered. */
  readonly serverId: string
  /** False for a plain MySQL or MariaDB server: then `readOnly` alone decides. */
  readonly isGalera: boolean
  readonly isReady: boolean
  /** `Primary`, `non-Primary` or `Disconnected`. */
  readonly clusterStatus: string
  readonly clusterUuid: string
  /** Grows with each view, the same on every member; 2^64-1 on a node that is not Primary. */
  readonly viewId: bigint
  readonly clusterSize: number
  /** 0 initialized, 1 joining, 2 donor, 3 joined, 4 synced. */
  readonly localState: number
  readonly isReadOnly: boolean
  readonly isDesynced: boolean
  readonly isRejecting: boolean
  readonly uptimeMs: number
  /** Write sets this node sent to the others: grows on the node that is written to. */
  readonly replicated: bigint
}

/** SHOW works on a node that is not Primary, where a SELECT gives 1047. @internal */
export const PROBE_SQL: string = [
  "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_status', 'wsrep_local_state',",
  "'wsrep_cluster_state_uuid', 'wsrep_cluster_conf_id', 'wsrep_cluster_size', 'wsrep_replicated', 'Uptime',",
  `${IDENTITY.status});`,
  "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'super_read_only', 'wsrep_on', 'wsrep_desync',",
  "'wsrep_reject_queries', 'pxc_maint_mode', 'offline_mode',",
  `${IDENTITY.variables})`,
].join(' ')

const SYNCED = 4
const STATE_NAMES = ['Initialized', 'Joining', 'Donor/Desynced', 'Joined', 'Synced'] as const

/** Reads the two result sets of {@link PROBE_SQL}. @internal */
export function parseReport(results: unknown): NodeReport {
  const values = readValues((results as readonly (readonly Record<string, unknown>[])[]).flat())
  const text = (name: string): string => values.get(name) ?? ''
  const isOn = (name: string): boolean => ['on', '1', 'yes'].includes(text(name).toLowerCase())
  if (!values.has('uptime')) throw new Error('the server answered the probe without its Uptime')
  const isGalera = isOn('wsrep_on') && values.has('wsrep_cluster_status')
  return Object.freeze({
    serverId: identityFrom(values, isGalera),
    isGalera,
    isReady: isOn('wsrep_ready'),
    clusterStatus: text('wsrep_cluster_status'),
    clusterUuid: text('wsrep_cluster_state_uuid'),
    viewId: toBigInt(text('wsrep_cluster_conf_id')),
    clusterSize: Number(text('wsrep_cluster_size') || 0),
    localState: Number(text('wsrep_local_state') || 0),
    isReadOnly: isOn('super_read_only') || isTrueReadOnly(text('read_only')) || isOn('offline_mode'),
    isDesynced: isOn('wsrep_desync') || !['', 'DISABLED'].includes(text('pxc_maint_mode')),
    isRejecting: !['', 'NONE'].includes(text('wsrep_reject_queries').toUpperCase()),
    uptimeMs: Number(text('uptime') || 0) * 1000,
    replicated: toBigInt(text('wsrep_replicated')),
  })
}

/** MariaDB 12 knows further values of `read_only` than ON and OFF; all of them but OFF refuse ordinary writes. */
function isTrueReadOnly(value: string): boolean {
  return !['', 'OFF', '0', 'NO'].includes(value.toUpperCase())
}

function toBigInt(text: string): bigint {
  return /^\d+$/.test(text) ? BigInt(text) : 0n
}

/** Why a node must not be used at all, or `undefined` when it may serve reads. @internal */
export function unfitForReads(report: NodeReport): string | undefined {
  if (!report.isGalera) return undefined
  if (report.clusterStatus !== 'Primary') return `is ${report.clusterStatus || 'not in a cluster'}`
  if (report.localState !== SYNCED) return `is ${STATE_NAMES[report.localState] ?? `in state ${report.localState}`}`
  if (!report.isReady) return 'is not ready (wsrep_ready is OFF)'
  if (report.isDesynced) return 'is desynced'
  if (report.isRejecting) return 'rejects queries'
  return undefined
}

/** Why a node must not be written to, or `undefined` when it may. @internal */
export function unfitForWrites(report: NodeReport): string | undefined {
  return unfitForReads(report) ?? (report.isReadOnly ? 'is read-only' : undefined)
}
