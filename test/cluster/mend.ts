import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Kind, KINDS, label, node, nodes } from './address.js'
import { kill, thaw } from './break.js'
import { drainProxy, isAnyProxyAlive } from './delay.js'
import { listFaults, removeFaults } from './nft.js'
import { installPackages, requireRoot } from './packages.js'
import { accepts } from './probe.js'
import { killOwned } from './process.js'
import { setMemoryAlarm } from './rabbit.js'
import { rabbitStatus } from './rabbit-admin.js'
import { isRabbitSplit, repairRabbit } from './rabbit-repair.js'
import { deadNodes, serverProcess } from './service.js'
import { SERVICES } from './services.js'
import {
  kindDir,
  makeDir,
  readSettings,
  removeStateDirIfEmpty,
  type Settings,
  stateDir,
  takeLock,
  withLock,
  writeSettings,
} from './state.js'
import { status } from './status.js'
import { type Progress, waitFor } from './wait.js'

/** Longest wait for another process that starts or mends the same cluster. */
const LOCK_TIMEOUT_MS = 300_000
const WHOLE_TIMEOUT_MS = 120_000
/** Longest wait for another test run. */
const CLAIM_TIMEOUT_MS = 900_000

/** Settings of every verb that takes time. */
export interface VerbOptions {
  /** Told of each step, with kind and elapsed time. */
  readonly progress?: Progress
}

/** Settings of {@link up}; the time-outs also change a cluster that runs. */
export interface UpOptions extends VerbOptions {
  /** Galera's `evs.suspect_timeout`. @default 3000, or what the cluster was started with */
  readonly suspectTimeoutMs?: number
  /** RabbitMQ's `net_ticktime`. @default 8, or what the cluster was started with */
  readonly netTicktimeSeconds?: number
}

/** What {@link up} did. */
export interface UpResult {
  /** Kinds that did not exist before. Only these may be taken down by the caller: the others serve somebody else. */
  readonly started: readonly Kind[]
}

/**
 * Makes clusters whole: installs what is missing, creates what does not exist, heals faults, starts dead nodes.
 *
 * Data survives, also when all nodes were killed. Resolves when every node is a member again.
 */
export async function up(kinds: readonly Kind[] = KINDS, options: UpOptions = {}): Promise<UpResult> {
  requireRoot()
  await installPackages(kinds, timed('packages', options.progress))
  const isNew = await Promise.all(kinds.map((kind) => exclusively(kind, () => upOne(kind, options))))
  return { started: kinds.filter((_, i) => isNew[i] === true) }
}

/**
 * Waits until nobody else breaks clusters of these kinds, and keeps others from it until the result is called.
 *
 * A convention between test runs and benchmarks: the verbs themselves do not ask for it.
 */
export async function claim(kinds: readonly Kind[] = KINDS, options: VerbOptions = {}): Promise<() => void> {
  const releases: (() => void)[] = []
  const release = (): void => {
    for (const each of releases.splice(0)) each()
  }
  try {
    // In the one order that everybody keeps to, else two of them could wait for each other.
    for (const kind of KINDS.filter((each) => kinds.includes(each))) {
      const wait = (holder: number): void => options.progress?.(`${kind}: waiting for process ${holder}, which uses it`)
      releases.push(await takeLock(`${kind}-claim`, CLAIM_TIMEOUT_MS, wait))
    }
  } catch (error) {
    release()
    throw error
  }
  return release
}

/** Kills the clusters and removes everything they left: data, logs, firewall rules, proxies. */
export async function down(kinds: readonly Kind[] = KINDS, options: VerbOptions = {}): Promise<void> {
  requireRoot()
  await Promise.all(kinds.map((kind) => exclusively(kind, () => downOne(kind, timed(kind, options.progress)))))
  removeStateDirIfEmpty()
}

/**
 * Starts one dead node, or all dead nodes of a kind together.
 *
 * Waits until they are back in their cluster, but never for a quorum that cannot be: then they are only started.
 */
export async function start(kind: Kind, n?: number, options: VerbOptions = {}): Promise<void> {
  requireRoot()
  if (n !== undefined) node(kind, n)
  if (!exists(kind)) throw new Error(`there is no ${kind} cluster: use 'up'`)
  await exclusively(kind, async () => {
    const dead = deadNodes(SERVICES[kind]).filter((number) => n === undefined || number === n)
    await startDead(kind, dead, timed(kind, options.progress))
  })
}

/**
 * Removes network faults, thaws frozen nodes and clears alarms; of everything, of one kind or of one node.
 *
 * Dead nodes stay dead. A RabbitMQ node that was away for too long is restarted, which takes some 10 s.
 * Does not wait for Galera; see {@link whole}.
 */
export async function heal(kind?: Kind, n?: number, options: VerbOptions = {}): Promise<void> {
  requireRoot()
  const kinds = kind === undefined ? KINDS : [kind]
  await Promise.all(kinds.map((each) => exclusively(each, () => healOne(each, n, timed(each, options.progress)))))
}

/** Waits until every node of a kind is a full member of its cluster. */
export async function whole(kind: Kind, options: { readonly timeoutMs?: number } = {}): Promise<void> {
  const timeoutMs = options.timeoutMs ?? WHOLE_TIMEOUT_MS
  await waitFor(`${kind} whole`, { timeoutMs, everyMs: 200 }, async () => {
    const [state] = await status([kind])
    const missing = state?.nodes.filter(({ isMember }) => !isMember) ?? []
    if (missing.length === 0) return undefined
    return missing.map((each) => `${label(kind, each.n)}: ${each.role}`).join('; ')
  })
}

async function upOne(kind: Kind, options: UpOptions): Promise<boolean> {
  const progress = timed(kind, options.progress)
  const isNew = !exists(kind)
  if (isNew) await createOne(kind, options, progress)
  else await healOne(kind, undefined, progress)
  await startDead(kind, deadNodes(SERVICES[kind]), progress)
  if (!isNew) await changeSettings(kind, options, progress)
  await whole(kind)
  progress('whole')
  return isNew
}

/** The settings file is written last, so what has none is the rest of an attempt that did not get far. */
function exists(kind: Kind): boolean {
  return existsSync(join(kindDir(kind), 'settings.json'))
}

async function createOne(kind: Kind, options: UpOptions, progress: Progress): Promise<void> {
  await downOne(kind, () => undefined)
  makeDir(stateDir())
  makeDir(kindDir(kind))
  const settings = chosenSettings(kind, options)
  await SERVICES[kind].create(progress)
  writeSettings(kind, settings)
}

async function changeSettings(kind: Kind, options: UpOptions, progress: Progress): Promise<void> {
  const before = readSettings(kind)
  const after = chosenSettings(kind, options)
  if (JSON.stringify(after) === JSON.stringify(before)) return
  progress(`settings: ${JSON.stringify(after)}`)
  writeSettings(kind, after)
  await SERVICES[kind].apply(after)
}

function chosenSettings(kind: Kind, { suspectTimeoutMs, netTicktimeSeconds }: UpOptions): Settings {
  const stored = readSettings(kind)
  return {
    suspectTimeoutMs: suspectTimeoutMs ?? stored.suspectTimeoutMs,
    netTicktimeSeconds: netTicktimeSeconds ?? stored.netTicktimeSeconds,
  }
}

async function startDead(kind: Kind, dead: readonly number[], progress: Progress): Promise<void> {
  if (dead.length === 0) return
  const addresses = nodes(kind).filter(({ n }) => dead.includes(n))
  await waitFor(`free ports for ${kind}`, { timeoutMs: 3000 }, async () => {
    const taken = await Promise.all(addresses.map(({ host, port }) => accepts(host, port)))
    const names = addresses.filter((_, i) => taken[i] === true).map(({ host, port }) => `${host}:${port}`)
    return names.length === 0 ? undefined : `${names.join(', ')} served by a process that is not ours`
  })
  progress(`starting node ${dead.join(', ')}`)
  await SERVICES[kind].start(dead, progress)
}

async function downOne(kind: Kind, progress: Progress): Promise<void> {
  await killOwned((owner) => owner.startsWith(`${kind}-`))
  rmSync(kindDir(kind), { recursive: true, force: true })
  await removeFaults((name) => name.startsWith(`${kind}-`), isAnyProxyAlive())
  progress('down')
}

async function healOne(kind: Kind, n: number | undefined, progress: Progress): Promise<void> {
  const numbers = n === undefined ? nodes(kind).map((each) => each.n) : [node(kind, n).n]
  const isConcerned = (name: string): boolean => numbers.some((number) => name.startsWith(`${label(kind, number)}-`))
  const faults = (await listFaults()).filter(isConcerned)
  for (const number of numbers) drainProxy(kind, number)
  await removeFaults(isConcerned, isAnyProxyAlive())
  const frozen = numbers.filter((number) => serverProcess(SERVICES[kind], number)?.isFrozen === true)
  for (const number of frozen) await thaw(kind, number)
  const healed = [...faults, ...frozen.map((number) => `${label(kind, number)}-frozen`)]
  if (healed.length > 0) progress(`healed ${healed.join(', ')}`)
  if (kind === 'rabbit') await healRabbit(numbers, healed, progress)
}

async function healRabbit(numbers: readonly number[], healed: readonly string[], progress: Progress): Promise<void> {
  for (const n of numbers) {
    if ((await rabbitStatus(n))?.alarms.includes('memory') !== true) continue
    await setMemoryAlarm(n, false)
    progress(`cleared the alarm of node ${n}`)
  }
  if ((await listFaults()).some((name) => name.startsWith('rabbit-') && name.endsWith('-partition'))) {
    progress('another node is still partitioned: not repairing the cluster')
    return
  }
  const away = numbers.filter((n) =>
    [`${label('rabbit', n)}-frozen`, `${label('rabbit', n)}-partition`].some((name) => healed.includes(name)),
  )
  if (away.length === 0 && !(await isRabbitSplit())) return
  const restart = async (n: number): Promise<void> => {
    await kill('rabbit', n)
    await startDead('rabbit', [n], progress)
  }
  await repairRabbit(away, restart, progress)
}

/** Two processes that mend the same cluster at once would undo each other's work. */
function exclusively<T>(kind: Kind, action: () => Promise<T>): Promise<T> {
  return withLock(kind, LOCK_TIMEOUT_MS, action)
}

/** Puts the subject and the time since now before each line. */
function timed(subject: string, progress: Progress | undefined): Progress {
  const begin = performance.now()
  return (line) => progress?.(`${((performance.now() - begin) / 1000).toFixed(1).padStart(5)} s  ${subject}: ${line}`)
}
