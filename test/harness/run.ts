import { monitorEventLoopDelay } from 'node:perf_hooks'
import * as cluster from '../cluster/index.js'
import { EvidenceCollector } from './evidence.js'
import type { FaultName, Target } from './fault.js'
import type { Window } from './gap.js'
import { type Hands, OWN_HANDS } from './hands.js'
import { inWords } from './recorder.js'
import type { LoadResult, RunResult } from './result.js'
import type { Oracle, Scene } from './scene.js'
import type { ReportedFailover } from './subject.js'
import { sleep, until, within } from './timing.js'
import { watchUnhandled } from './unhandled.js'
import { type Load, Workload } from './workload.js'

/** How one run is made. */
export interface RunOptions {
  readonly fault: FaultName
  /** How long is looked at after the fault. @default 15 */
  readonly seconds?: number
  /** How long the load runs before the fault. @default 2000 */
  readonly warmMs?: number
  /** Heals so long after the fault, with the load going on; after the load when not given. */
  readonly healAfterMs?: number
  /** Which node is hit. @default the one in use */
  readonly target?: number
  /** How long operations that are under way at the end may take. @default 10_000 */
  readonly settleMs?: number
  /** Told what is going on. */
  readonly progress?: (line: string) => void
  /** What breaks the node and looks at it. @default this process */
  readonly hands?: Hands
}

const OPEN_LIMIT_MS = 60_000
const FIRST_ACK_LIMIT_MS = 20_000
const HEAL_LIMIT_MS = 180_000
const VERIFY_LIMIT_MS = 120_000

/**
 * Runs a client under load, breaks the node that it uses, and compares what its callers were told with what the
 * servers have.
 *
 * The cluster must be whole, and is again afterwards. Faults and kinds are not claimed here: see `cluster.claim`.
 */
export async function measure(scene: Scene, options: RunOptions): Promise<RunResult> {
  const unhandled = watchUnhandled()
  const delay = monitorEventLoopDelay({ resolution: 5 })
  try {
    await within(OPEN_LIMIT_MS, `${scene.subject.name}: open`, scene.open())
    return await new Run(scene, options).result(delay, () => unhandled.errors.map(inWords))
  } finally {
    delay.disable()
    await scene.close()
    unhandled.stop()
  }
}

class Run {
  readonly #scene: Scene
  readonly #options: RunOptions
  readonly #main: Workload
  readonly #sides: ReadonlyMap<string, Workload>
  readonly #seconds: number
  readonly #progress: (line: string) => void
  readonly #hands: Hands

  constructor(scene: Scene, options: RunOptions) {
    this.#scene = scene
    this.#options = options
    this.#seconds = options.seconds ?? 15
    this.#progress = options.progress ?? (() => undefined)
    this.#hands = options.hands ?? OWN_HANDS
    this.#main = new Workload(scene.main)
    this.#sides = new Map(scene.sides.map((side) => [side.name, new Workload(side)]))
  }

  async result(
    delay: ReturnType<typeof monitorEventLoopDelay>,
    unhandled: () => readonly string[],
  ): Promise<RunResult> {
    const { kind, subject } = this.#scene
    const { fault: faultName } = this.#options
    for (const workload of [this.#main, ...this.#sides.values()]) workload.start()
    let oracles: readonly Oracle[] = []
    let oracleLoads = new Map<string, Workload>()
    try {
      await this.#firstAcknowledgement()
      const n = this.#options.target ?? (await this.#scene.target())
      oracles = await this.#scene.oracles(n)
      oracleLoads = new Map(oracles.map((oracle) => [oracle.name, new Workload(oracle).start()]))
      const warmFrom = performance.now()
      await sleep(this.#options.warmMs ?? 2000)
      const target: Target = { kind, n, ...(subject.localAddress === undefined ? {} : { from: subject.localAddress }) }
      const warm = { from: warmFrom, to: performance.now() }
      await this.#scene.survey('before', n)
      delay.enable()
      delay.reset()
      const { window, evidence } = await this.#break(target, faultName)
      const loopDelayMs = delay.max / 1e6
      for (const load of oracleLoads.values()) load.stop()
      const describe = (workload: Workload, load: Load): LoadResult => toResult(workload, load, warm, window)
      const findings = await within(VERIFY_LIMIT_MS, 'verification', this.#scene.verify(this.#main.recorder))
      const oracleResults = Object.fromEntries(oracles.map((o) => [o.name, describe(load(oracleLoads, o.name), o)]))
      return {
        subject: subject.name,
        kind,
        fault: faultName,
        target: n,
        cluster: await clusterSettings(kind),
        seconds: this.#seconds,
        evidence,
        main: describe(this.#main, this.#scene.main),
        sides: Object.fromEntries(
          this.#scene.sides.map((side) => [side.name, describe(load(this.#sides, side.name), side)]),
        ),
        series: Object.fromEntries(
          Object.entries(this.#scene.series).map(([name, series]) => [name, series.gap(window)]),
        ),
        oracles: oracleResults,
        limitMs: Object.values(oracleResults)[0]?.gap.ms ?? 0,
        findings,
        unhandled: [...unhandled(), ...(this.#scene.unhandled?.() ?? [])],
        failovers: (subject.failovers?.() ?? []).map(inJson),
        movedMs: movedMs(subject.failovers?.() ?? [], window),
        loopDelayMs,
        firstErrors: this.#main.recorder.firstErrors.map(({ at, error }) => {
          return `${Math.round(at - window.from)} ms: ${inWords(error)}`
        }),
        report: subject.report?.(),
        details: this.#scene.details?.(),
      }
    } finally {
      for (const each of [this.#main, ...this.#sides.values(), ...oracleLoads.values()]) await each.finish(0)
      for (const oracle of oracles) oracle.close()
    }
  }

  async #firstAcknowledgement(): Promise<void> {
    const { recorder } = this.#main
    const acknowledged = until('first acknowledgement', FIRST_ACK_LIMIT_MS, () => recorder.acknowledged > 0)
    await acknowledged.catch((error: unknown) => {
      const said = recorder.firstErrors.map((each) => inWords(each.error)).slice(0, 3)
      throw new Error(`${inWords(error)}; errors: ${said.join('; ')}`)
    })
  }

  /** Injects the fault, looks for its time, ends the load, and makes the cluster whole. */
  async #break(target: Target, faultName: FaultName): Promise<{ window: Window; evidence: RunResult['evidence'] }> {
    const { healAfterMs } = this.#options
    const collector = new EvidenceCollector(this.#scene.subject, faultName, target, this.#hands)
    await collector.before()
    this.#progress(`${faultName} ${target.kind} ${target.n}`)
    const from = performance.now()
    const to = from + this.#seconds * 1000
    let surveying: Window['without']
    let struckAt = from
    const heal = once(async () => {
      try {
        const began = performance.now()
        await this.#scene.survey('during', target.n)
        if (healAfterMs !== undefined) surveying = { from: began, to: performance.now() }
        await collector.atEnd()
      } finally {
        this.#progress('heal')
        await within(HEAL_LIMIT_MS, 'healing', this.#hands.heal(faultName, target))
      }
    })
    try {
      await this.#hands.inject(faultName, target)
      struckAt = performance.now()
      this.#scene.injected?.()
      await collector.after()
      if (healAfterMs !== undefined) {
        await sleep(from + healAfterMs - performance.now())
        await heal()
      }
      await sleep(to - performance.now())
      await this.#finish()
    } finally {
      await heal()
    }
    await within(HEAL_LIMIT_MS, 'whole cluster', this.#hands.whole(target.kind))
    return { window: { from, to, struckAt, without: surveying }, evidence: collector.evidence }
  }

  async #finish(): Promise<void> {
    const loads = [this.#main, ...this.#sides.values()]
    for (const each of loads) each.stop()
    await Promise.all(loads.map((each) => each.finish(this.#options.settleMs ?? 10_000)))
  }
}

/** An error would be lost on the way to another process. */
function inJson({ cause, ...failover }: ReportedFailover): ReportedFailover {
  return cause === undefined ? failover : { ...failover, cause: inWords(cause) }
}

function movedMs(failovers: readonly ReportedFailover[], { from, to }: Window): number | undefined {
  const first = failovers.find(({ at = -Infinity }) => at >= from && at <= to)
  return first?.at === undefined ? undefined : first.at - from
}

/** The same promise for every call. */
function once(action: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined
  return () => (done ??= action())
}

function load(loads: ReadonlyMap<string, Workload>, name: string): Workload {
  const found = loads.get(name)
  if (found === undefined) throw new Error(`no load ${name}`)
  return found
}

function toResult({ recorder }: Workload, { workers }: Load, warm: Window, window: Window): LoadResult {
  return {
    workers,
    started: recorder.started,
    acknowledged: recorder.acknowledged,
    errors: Object.fromEntries(recorder.errors),
    unsettled: recorder.unsettled,
    gap: recorder.gap(window),
    faultGap: recorder.faultGap(window),
    calmGapMs: recorder.gap(warm).ms,
    ratePerSecond: (1000 * recorder.countIn(warm)) / (warm.to - warm.from),
    latency: recorder.latency(warm),
  }
}

/** The cluster's own time-outs, which belong to every figure. */
export async function clusterSettings(kind: cluster.Kind): Promise<Readonly<Record<string, string>>> {
  const settings = (await cluster.status([kind]))[0]?.settings
  if (settings === undefined || kind === 'memcached') return {}
  if (kind === 'galera') return { 'evs.suspect_timeout': `${settings.suspectTimeoutMs / 1000} s` }
  return { net_ticktime: `${settings.netTicktimeSeconds} s` }
}
