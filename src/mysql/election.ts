import type { NodeReport } from './galera.js'

/** What tells which view of the cluster a node is in. @internal */
export interface ViewOfNode {
  readonly report: NodeReport | undefined
  /** When the report was asked for, on this client's clock. */
  readonly askedAt: number
  /** When the node was first seen in the view it reports, on this client's clock. */
  readonly viewSeenAt: number
}

/** What the election knows of one node. @internal */
export interface Candidate extends ViewOfNode {
  /** `host:port`; says who it is. */
  readonly name: string
  /** Lower is preferred; equal priorities are decided by the list's order. */
  readonly priority: number
  /** Fit to be written to, by its last report. */
  readonly isFit: boolean
  /** The shorter of the server's uptime and the time this client has seen the node fit without a break. */
  readonly ageMs: number
  /** The age from which the node may be preferred: grows with each relapse. */
  readonly requiredAgeMs: number
  /** True when the node sent write sets between this client's first two probes or since. */
  readonly isWrittenTo: boolean
}

/** What the election is asked. @internal */
export interface ElectionInput {
  /** In the order of the host list. */
  readonly candidates: readonly Candidate[]
  /** True while this client has not watched for long enough to know who was away: it follows the others. */
  readonly isClientYoung: boolean
}

/** Who is to be written to, and why it and not the first of the list. @internal */
export interface ElectionResult {
  readonly writer: string | undefined
  readonly reason: string
  /** Every fit node of the component that the writer was chosen from. */
  readonly members: readonly string[]
}

/**
 * Chooses the one node to write to.
 *
 * A pure function of the nodes' answers and ages: two clients that see the same answers choose the same node without
 * talking to each other. Only members of one Primary component stand; among those old enough the configured priority
 * decides, then the list's order. With none old enough the order alone decides. @internal
 */
export function electWriter(input: ElectionInput): ElectionResult {
  const fit = sameComponent(input.candidates.filter((candidate) => candidate.isFit))
  const members = fit.map(({ name }) => name)
  if (fit.length === 0) return { writer: undefined, reason: 'no node is fit to be written to', members }
  if (input.isClientYoung) {
    const written = byPreference(fit.filter((candidate) => candidate.isWrittenTo))[0]
    if (written !== undefined) return { writer: written.name, reason: 'the other clients write to it', members }
  }
  const settled = byPreference(fit.filter((candidate) => candidate.ageMs >= candidate.requiredAgeMs))[0]
  const preferred = byPreference(fit)[0] as Candidate
  const { name } = settled ?? preferred
  return { writer: name, reason: reasonFor(name, preferred, input.candidates), members }
}

function reasonFor(name: string, preferred: Candidate, candidates: readonly Candidate[]): string {
  if (name !== preferred.name) return `${preferred.name} is back for less than its failback delay`
  const first = byPreference(candidates)[0]?.name ?? name
  return name === first
    ? 'first in order of preference'
    : `this client cannot use ${first}: next in order of preference`
}

/** Stable: the order of the list decides between equal priorities. */
function byPreference(candidates: readonly Candidate[]): readonly Candidate[] {
  return candidates.toSorted((a, b) => a.priority - b.priority)
}

/**
 * The members of the newest view of the largest cluster: a node in an older view may be cut off without knowing it yet.
 *
 * Two state uuids mean two clusters in one host list: the one with more members wins, the earlier in the list on a tie.
 * @internal
 */
export function sameComponent<C extends ViewOfNode>(candidates: readonly C[]): readonly C[] {
  const clusters = new Map<string, C[]>()
  for (const candidate of candidates) {
    const uuid = candidate.report?.isGalera === true ? candidate.report.clusterUuid : ''
    clusters.set(uuid, [...(clusters.get(uuid) ?? []), candidate])
  }
  const largest = [...clusters.values()].reduce<C[]>((best, next) => (next.length > best.length ? next : best), [])
  const newest = largest.reduce((view, candidate) => (viewOf(candidate) > view ? viewOf(candidate) : view), 0n)
  const newestSeenAt = Math.min(
    ...largest.filter((candidate) => viewOf(candidate) === newest).map((candidate) => candidate.viewSeenAt),
  )
  // A report asked for before the newest view was seen says nothing about who is left behind.
  return largest.filter((candidate) => viewOf(candidate) === newest || candidate.askedAt <= newestSeenAt)
}

function viewOf(candidate: ViewOfNode): bigint {
  return candidate.report?.isGalera === true ? candidate.report.viewId : 0n
}
