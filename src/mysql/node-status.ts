import type { NodeReport } from './galera.js'
import type { NodePoolStatus } from './node-pool.js'

/**
 * `unknown` not asked yet, `up` answers, `suspect` did not answer or lost a connection and is being asked, `down` does
 * not answer. Only `up` and `suspect` have a report that counts.
 */
export type NodeState = 'unknown' | 'up' | 'suspect' | 'down'

/** State of one host in a status snapshot. */
export interface MysqlHostStatus {
  /** `host:port`. */
  readonly host: string
  /** The address that its name led to at the last answer. */
  readonly address: string | undefined
  readonly state: NodeState
  /** Wall-clock time the state was entered. */
  readonly since: number
  /** Why the host is not used for writes; `undefined` when it is fit. */
  readonly unfit: string | undefined
  /** The last failure, which may be over. */
  readonly lastError: Error | undefined
  /** Galera's own words; `undefined` until the first answer, or for a server without wsrep. */
  readonly galera:
    | {
        readonly clusterStatus: string
        readonly localState: number
        readonly viewId: string
        readonly clusterSize: number
        readonly isReady: boolean
        readonly isDesynced: boolean
      }
    | undefined
  readonly isReadOnly: boolean | undefined
  readonly connections: NodePoolStatus
  /** Statements under way. */
  readonly calls: number
}

/** A frozen snapshot of one node. @internal */
export function hostStatus({
  report,
  ...known
}: Omit<MysqlHostStatus, 'galera' | 'isReadOnly'> & { readonly report: NodeReport | undefined }): MysqlHostStatus {
  return Object.freeze({ ...known, galera: galeraStatus(report), isReadOnly: report?.isReadOnly })
}

function galeraStatus(report: NodeReport | undefined): MysqlHostStatus['galera'] {
  if (report?.isGalera !== true) return undefined
  const { clusterStatus, localState, viewId, clusterSize, isReady, isDesynced } = report
  return Object.freeze({ clusterStatus, localState, viewId: String(viewId), clusterSize, isReady, isDesynced })
}
