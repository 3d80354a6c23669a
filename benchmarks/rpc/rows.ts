import type { FaultName } from '../../test/harness/index.js'
import type { RpcSceneOptions } from './scene.js'

/** One line of the table: a fault of the node that the caller uses, and where the server is. */
export interface RpcRow {
  readonly fault: FaultName
  readonly scene?: RpcSceneOptions
  /** How long is looked at after the fault: calls have a limit of 20 s. */
  readonly seconds: number
}

const SECONDS = 40

/** The rows by the names of the command line. */
export const RPC_ROWS: Readonly<Record<string, RpcRow>> = {
  kill: { fault: 'kill', seconds: SECONDS },
  freeze: { fault: 'freeze', seconds: SECONDS },
  blackhole: { fault: 'blackhole', seconds: SECONDS },
  'kill-together': { fault: 'kill', scene: { placed: 'together' }, seconds: SECONDS },
  'freeze-together': { fault: 'freeze', scene: { placed: 'together' }, seconds: SECONDS },
  none: { fault: 'none', seconds: 10 },
}

/** The rows that have goals, and that are measured unless others are asked for. */
export const RPC_TABLE: readonly string[] = ['kill', 'freeze', 'blackhole']
