import * as cluster from '../cluster/index.js'
import { type Connection, connections } from './connections.js'
import { FAULTS, type FaultName, type Target } from './fault.js'
import { type NodeAnswer, probeNode } from './node-probe.js'

/**
 * What breaks nodes, mends them and looks at them.
 *
 * Starting programs and reading `/proc` holds up the event loop for ten milliseconds and more. Where gaps of a few
 * milliseconds are measured, another process does it: see `benchmarks/remote-hands.ts`.
 */
export interface Hands {
  inject(fault: FaultName, target: Target): Promise<void>
  heal(fault: FaultName, target: Target): Promise<void>
  /** What the node itself says, for a fault that a new client does not notice. */
  isOn(fault: FaultName, target: Target): Promise<boolean | undefined>
  /** What a new client meets. */
  probe(target: Target): Promise<NodeAnswer>
  /** Established connections of processes. */
  connections(pids: readonly number[]): Promise<readonly Connection[]>
  /** Resolves when every node of the kind works. */
  whole(kind: cluster.Kind): Promise<void>
}

/** This process does it. */
export const OWN_HANDS: Hands = {
  inject: (fault, target) => FAULTS[fault].inject(target),
  heal: (fault, target) => FAULTS[fault].heal(target),
  isOn: (fault, target) => FAULTS[fault].isOn?.(target) ?? Promise.resolve(undefined),
  probe: ({ kind, n, from }) => probeNode(kind, n, from),
  connections: (pids) => Promise.resolve(connections(pids)),
  whole: async (kind) => {
    await cluster.whole(kind)
  },
}
