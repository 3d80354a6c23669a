import * as cluster from '../cluster/index.js'
import { rabbitStatus } from '../cluster/rabbit-admin.js'
import { nextNode } from './in-use.js'
import { adminSql } from './mysql-admin.js'
import type { NodeAnswer } from './node-probe.js'

/** Whom a fault hits. */
export interface Target {
  readonly kind: cluster.Kind
  readonly n: number
  /** Source address that a blackhole is limited to; all clients of the node when not given. */
  readonly from?: string
}

export type FaultName = 'none' | 'kill' | 'stop' | 'freeze' | 'blackhole' | 'reject' | 'reset' | 'partition' | 'read-only' | 'desync' | 'alarm' | 'two-down' | 'all-down' // prettier-ignore

/** Something that is done to a node and undone again. */
export interface Fault {
  inject(target: Target): Promise<void>
  /** Undoes it as far as it is not over by itself. The caller waits for the cluster to be whole. */
  heal(target: Target): Promise<void>
  /** What a new client meets while it lasts: a run in which it meets something else proves nothing. */
  readonly symptom: NodeAnswer
  /** What the node itself says, for a fault that a new client does not notice. */
  isOn?(target: Target): Promise<boolean>
  /** True when the connections that were there have to be gone soon after, without the client's doing. */
  readonly cutsConnections?: boolean
}

const start = ({ kind, n }: Target): Promise<void> => cluster.start(kind, n)
const heal = ({ kind, n }: Target): Promise<void> => cluster.heal(kind, n)

function variable(name: string, on: string, off: string): Fault {
  const set = async ({ kind, n }: Target, value: string): Promise<void> => {
    if (kind !== 'galera') throw new Error(`${kind} has no ${name}`)
    await adminSql(n, `SET GLOBAL ${name} = ${value}`)
  }
  return {
    symptom: 'answers',
    inject: (target) => set(target, on),
    heal: (target) => set(target, off),
    isOn: async ({ n }) => (await adminSql(n, `SELECT @@GLOBAL.${name} AS value`))[0]?.['value'] === 1,
  }
}

export const FAULTS: Readonly<Record<FaultName, Fault>> = {
  none: { symptom: 'answers', inject: () => Promise.resolve(), heal: () => Promise.resolve() },
  kill: { symptom: 'refuses', cutsConnections: true, inject: ({ kind, n }) => cluster.kill(kind, n), heal: start },
  stop: { symptom: 'refuses', cutsConnections: true, inject: ({ kind, n }) => cluster.stop(kind, n), heal: start },
  freeze: { symptom: 'accepts, says nothing', inject: ({ kind, n }) => cluster.freeze(kind, n), heal },
  blackhole: { symptom: 'unreachable', inject: (target) => cut(target, false), heal },
  reject: { symptom: 'refuses', inject: (target) => cut(target, true), heal },
  reset: {
    symptom: 'answers',
    cutsConnections: true,
    inject: ({ kind, n }) => cluster.reset(kind, n),
    heal: () => Promise.resolve(),
  },
  partition: { symptom: 'answers', inject: ({ kind, n }) => cluster.partition(kind, n), heal },
  'read-only': variable('read_only', '1', '0'),
  desync: variable('wsrep_desync', 'ON', 'OFF'),
  alarm: {
    symptom: 'answers',
    inject: ({ n }) => cluster.alarm(n, true),
    heal,
    isOn: async ({ n }) => (await rabbitStatus(n))?.alarms.includes('memory') === true,
  },
  // The one that is left is the node after the target.
  'two-down': several((n, next) => n !== next),
  'all-down': several(() => true),
}

/** Kills the target and others at once: those that `isHit`, by their number and that of the node after the target. */
function several(isHit: (n: number, next: number) => boolean): Fault {
  return {
    symptom: 'refuses',
    cutsConnections: true,
    inject: async ({ kind, n }) => {
      const hit = cluster.nodes(kind).filter((each) => isHit(each.n, nextNode(kind, n)))
      await Promise.all(hit.map((each) => cluster.kill(kind, each.n)))
    },
    heal: ({ kind }) => cluster.start(kind),
  }
}

/** The name, when it is one of a fault. */
export function isFaultName(name: string): name is FaultName {
  return name in FAULTS
}

function cut({ kind, n, from }: Target, reject: boolean): Promise<void> {
  return cluster.blackhole(kind, n, { reject, ...(from === undefined ? {} : { from }) })
}
