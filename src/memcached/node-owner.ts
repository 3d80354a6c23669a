import type { CacheNode } from './node.js'
import type { ServerAddress } from './server-address.js'
import type { Payload } from './transport.js'

/**
 * `connecting`: not reached yet, requests wait for it. `live`: used. `suspect`: it missed a time limit and is not used
 * until a probe of ours is answered. `dead`: given up, or not reached yet after it was added. `returning`: it answers
 * again and is being made safe. `removed`: not one of the servers any more.
 */
export type NodeState = 'connecting' | 'live' | 'suspect' | 'dead' | 'returning' | 'removed'

/** What a node tells about itself. @internal */
export interface NodeOwner {
  /** It must not be used from now on. Called before its pending requests fail. */
  onOut(node: CacheNode): void
  /** It can be used from now on. */
  onIn(node: CacheNode): void
  /** It is down, told once per absence; not told when a suspicion was unfounded. */
  onDown(node: CacheNode, outage: NodeOutage): void
  /** It is up for the first time, or after `onDown`. */
  onUp(node: CacheNode): void
  /** True when one more node may be given up for slowness alone. */
  mayGiveUpSlowNode(): boolean
  /** The value that the heir of `node` has under a key, younger than the node's absence. */
  copyFromHeir(node: CacheNode, key: string): Promise<Payload | undefined>
}

/** The beginning of an absence. @internal */
export interface NodeOutage {
  readonly cause: Error
  /** From the first sign of trouble until it was not used any more, in milliseconds. */
  readonly detectedMs: number
  /** False for a node that was never reached. */
  readonly wasUsed: boolean
}

/** Where a node stands among the others. @internal */
export interface NodePosition {
  readonly index: number
  readonly server: ServerAddress
  /** How often the node that had this place before has been out, for a server that is added again. */
  readonly absences: number
  /** True for a node that is added to others that are in use: it waits until it is known to serve nothing old. */
  readonly joins: boolean
}
