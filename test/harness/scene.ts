import type { Kind } from '../cluster/index.js'
import type { Load } from './workload.js'
import type { Gap, Window } from './gap.js'
import type { Recorder } from './recorder.js'
import type { Subject } from './subject.js'

/** A load that runs beside the main one. */
export interface SideLoad extends Load {
  readonly name: string
}

/** Something that happens again and again, and may pause. */
export interface Series {
  gap(window: Window): Gap
}

/** A client of a surviving node that does the same kind of work: its gap is the servers' own pause. */
export interface Oracle extends SideLoad {
  close(): void
}

/** What the servers hold after a run, against what callers were told. Everything but `notes` should be 0. */
export interface Findings {
  /** Acknowledged, but not there. */
  readonly lost: number
  /** Done more than once. */
  readonly twice: number
  /** Reported as failed, but done. */
  readonly denied: number
  /** Values read that were older than one that the same caller had read or written before. */
  readonly stale: number
  /** Values that belong to something else. */
  readonly wrong: number
  /** Keys of healthy nodes that were looked for elsewhere while another node was broken. */
  readonly moved: number
  /** Things to know that are no fault. */
  readonly notes: Readonly<Record<string, number>>
  /** Some of what was counted above, for the search. */
  readonly examples: readonly string[]
}

/** One client under test at one kind of work on one cluster: laid out, operated, and verified on the real servers. */
export interface Scene {
  readonly kind: Kind
  readonly subject: Subject
  /** Lays out tables, queues or keys and connects the client. The cluster is whole. */
  open(): Promise<void>
  readonly main: Load
  /** Loads of the same client that are measured on their own. */
  readonly sides: readonly SideLoad[]
  /** Further series of the main load, such as deliveries. */
  readonly series: Readonly<Record<string, Series>>
  /** The node to break when none was asked for: the one in use. */
  target(): Promise<number>
  /** Connects the oracles; the first one's gap is the limit. */
  oracles(target: number): Promise<readonly Oracle[]>
  /** Looks at the servers just before the fault, and again before it is healed, or at the end when it never is. */
  survey(moment: 'before' | 'during', target: number): Promise<void>
  /** Called as soon as the fault is on. */
  injected?(): void
  /** Called when the cluster is whole again and the load has ended. */
  verify(recorder: Recorder): Promise<Findings>
  /** Whatever helps to understand a bad run, after {@link verify}. */
  details?(): unknown
  /** Unhandled rejections of other processes that belong to it, after {@link verify}. */
  unhandled?(): readonly string[]
  /** Ends the client and removes what was laid out. Bounded; never rejects. */
  close(): Promise<void>
}
