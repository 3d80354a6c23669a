import type { NodeReport } from '../../src/mysql/galera.js'

/** What a healthy member of a three-node cluster reports. */
export function galeraReport(changes: Partial<NodeReport> = {}): NodeReport {
  return {
    serverId: '4684a8a4-0000-11f0-8000-000000000001',
    isGalera: true,
    isReady: true,
    clusterStatus: 'Primary',
    clusterUuid: '4b9e7f0e-0000-11f0-8000-000000000001',
    viewId: 5n,
    clusterSize: 3,
    localState: 4,
    isReadOnly: false,
    isDesynced: false,
    isRejecting: false,
    uptimeMs: 3_600_000,
    replicated: 0n,
    ...changes,
  }
}
