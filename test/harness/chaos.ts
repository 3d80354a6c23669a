import * as cluster from '../cluster/index.js'
import { probeNode } from './node-probe.js'
import { FAULTS, type FaultName, type Target } from './fault.js'
import { Random } from './random.js'
import type { LoadResult } from './result.js'
import { inWords } from './recorder.js'
import { clusterSettings } from './run.js'
import type { Findings, Scene } from './scene.js'
import { sleep, within } from './timing.js'
import { watchUnhandled } from './unhandled.js'
import { Workload } from './workload.js'

/** What chaos does, and for how long. */
export interface ChaosOptions {
  readonly seconds: number
  /** Repeats the same faults on the same nodes at the same distances. */
  readonly seed: number
  /** @default what a client of that kind must survive */
  readonly faults?: readonly FaultName[]
  /** Told what is going on. */
  readonly progress?: (line: string) => void
}

/** One fault of a chaos run. */
export interface ChaosFault {
  readonly fault: FaultName
  readonly target: number
  /** Counted from the beginning. */
  readonly atMs: number
  /** Until it was healed; the cluster takes longer to be whole again. */
  readonly lastedMs: number
  readonly hasBitten: boolean
}

/** What became of a client under random faults; can be written as JSON. */
export interface ChaosResult extends Omit<LoadResult, 'gap' | 'faultGap' | 'calmGapMs' | 'latency'> {
  readonly subject: string
  readonly kind: cluster.Kind
  readonly seed: number
  readonly seconds: number
  readonly cluster: Readonly<Record<string, string>>
  readonly faults: readonly ChaosFault[]
  readonly findings: Findings
  readonly unhandled: readonly string[]
  readonly failovers: number
  /** The longest time without an acknowledgement. */
  readonly longestGapMs: number
  /** The longest silences of the further series. */
  readonly series: Readonly<Record<string, number>>
  readonly report: unknown
}

const FAULTS_OF: Readonly<Record<cluster.Kind, readonly FaultName[]>> = {
  galera: ['kill', 'stop', 'freeze', 'blackhole', 'reject', 'reset', 'partition', 'read-only', 'desync'],
  rabbit: ['kill', 'stop', 'freeze', 'blackhole', 'reject', 'reset', 'partition', 'alarm'],
  memcached: ['kill', 'freeze', 'blackhole', 'reject', 'reset'],
}
/** Half of the faults are over sooner than the cluster notices, half later. */
const DURATION_MS: Readonly<Record<cluster.Kind, readonly [number, number]>> = {
  galera: [200, 10_000],
  rabbit: [200, 15_000],
  memcached: [50, 1500],
}
const PAUSE_MS: Readonly<Record<cluster.Kind, readonly [number, number]>> = {
  galera: [200, 3000],
  rabbit: [200, 3000],
  memcached: [50, 500],
}
const OPEN_LIMIT_MS = 60_000
const HEAL_LIMIT_MS = 240_000
const SETTLE_LIMIT_MS = 40_000
const VERIFY_LIMIT_MS = 120_000

/**
 * Breaks random nodes in random ways, one at a time and each healed before the next, under load, and then compares
 * what callers were told with what the servers have.
 */
export async function chaos(scene: Scene, options: ChaosOptions): Promise<ChaosResult> {
  const unhandled = watchUnhandled()
  const workload = new Workload(scene.main)
  const sides = scene.sides.map((side) => new Workload(side))
  const workloads = [workload, ...sides]
  try {
    await within(OPEN_LIMIT_MS, `${scene.subject.name}: open`, scene.open())
    const begin = performance.now()
    for (const each of workloads) each.start()
    const faults = await breakThings(scene, options, begin)
    const end = performance.now()
    await Promise.all(workloads.map((each) => each.finish(SETTLE_LIMIT_MS)))
    const { recorder } = workload
    const findings = await within(VERIFY_LIMIT_MS, 'verification', scene.verify(recorder))
    return {
      subject: scene.subject.name,
      kind: scene.kind,
      seed: options.seed,
      seconds: Math.round((end - begin) / 1000),
      cluster: await clusterSettings(scene.kind),
      workers: scene.main.workers,
      started: recorder.started,
      acknowledged: recorder.acknowledged,
      errors: Object.fromEntries(recorder.errors),
      unsettled: workloads.reduce((sum, each) => sum + each.recorder.unsettled, 0),
      ratePerSecond: (1000 * recorder.acknowledged) / (end - begin),
      faults,
      findings,
      unhandled: [...unhandled.errors.map(inWords), ...(scene.unhandled?.() ?? [])],
      failovers: scene.subject.failoverCount?.() ?? scene.subject.failovers?.().length ?? 0,
      longestGapMs: recorder.gap({ from: begin, to: end }).ms,
      series: Object.fromEntries(
        Object.entries(scene.series).map(([name, series]) => [name, series.gap({ from: begin, to: end }).ms]),
      ),
      report: scene.subject.report?.(),
    }
  } finally {
    for (const each of workloads) await each.finish(0)
    await scene.close()
    unhandled.stop()
  }
}

async function breakThings(scene: Scene, options: ChaosOptions, begin: number): Promise<readonly ChaosFault[]> {
  const { kind, subject } = scene
  const random = new Random(options.seed)
  const names = options.faults ?? FAULTS_OF[kind]
  const numbers = cluster.nodes(kind).map(({ n }) => n)
  const done: ChaosFault[] = []
  while (performance.now() - begin < options.seconds * 1000) {
    await sleep(random.between(...PAUSE_MS[kind]))
    const fault = random.pick(names)
    const n = random.pick(numbers)
    const ms = Math.round(random.between(...DURATION_MS[kind]))
    const target: Target = { kind, n, ...(subject.localAddress === undefined ? {} : { from: subject.localAddress }) }
    const at = performance.now()
    const atMs = Math.round(at - begin)
    const hasBitten = await breakOnce(target, fault, ms)
    const lastedMs = Math.round(performance.now() - at)
    const doubt = hasBitten ? '' : ', which did NOT bite'
    options.progress?.(`${(atMs / 1000).toFixed(1)} s: ${fault} ${kind} ${n} for ${ms} ms${doubt}`)
    done.push({ fault, target: n, atMs, lastedMs, hasBitten })
    await within(HEAL_LIMIT_MS, 'whole cluster', cluster.whole(kind))
  }
  return done
}

async function breakOnce(target: Target, name: FaultName, ms: number): Promise<boolean> {
  const fault = FAULTS[name]
  try {
    const at = performance.now()
    await fault.inject(target)
    const answer = await probeNode(target.kind, target.n, target.from)
    const isOn = (await fault.isOn?.(target)) ?? true
    await sleep(Math.max(0, ms - (performance.now() - at)))
    return answer === fault.symptom && isOn
  } finally {
    await within(HEAL_LIMIT_MS, 'healing', fault.heal(target))
  }
}

/** Broken promises of a run; empty for a client that keeps them all. */
export function chaosViolations(result: ChaosResult): readonly string[] {
  const { findings, unsettled, unhandled } = result
  const { lost, twice, denied, stale, wrong } = findings
  // Messages that stay in the queue although somebody should consume it.
  const abandoned = findings.notes['notConsumed'] ?? 0
  const counts = { unsettled, unhandled: unhandled.length, lost, twice, denied, stale, wrong, abandoned }
  const broken = Object.entries(counts).flatMap(([name, count]) => (count > 0 ? [`${count} ${name}`] : []))
  const idle = result.faults.filter(({ hasBitten }) => !hasBitten).length
  return idle === 0 ? broken : [...broken, `${idle} faults did not bite`]
}
