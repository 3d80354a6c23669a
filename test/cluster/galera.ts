import { chownSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { selfSigned } from '../helpers/certificate.js'
import { label, nodes } from './address.js'
import { adminQuery, wsrepStatus } from './galera-admin.js'
import {
  certificateFile,
  failureDetection,
  galeraConfig,
  INITIAL_SQL,
  keyFile,
  providerOptions,
} from './galera-config.js'
import {
  allowBootstrap,
  forgetMembership,
  INITIAL_STATE,
  type Position,
  recoverPosition,
  stateFile,
} from './galera-position.js'
import { account, killOwned, runOrThrow, spawnDetached } from './process.js'
import { type Inspection, type Service, serverProcess } from './service.js'
import { kindDir, makeDir, nodeDir, nodeLog, readSettings, type Settings } from './state.js'
import { type Progress, tailOf, waitFor } from './wait.js'

/** Time for a node to become Synced, a full state transfer included. */
const SYNC_TIMEOUT_MS = 120_000
/** Time for nodes that all came back to find their old Primary component again by themselves. */
const REUNION_TIMEOUT_MS = 20_000
/** How long there may be no Primary component before nobody waits for it; views change while nodes come and go. */
const NO_PRIMARY_MS = 10_000

const NUMBERS: readonly number[] = nodes('galera').map(({ n }) => n)

/** Three MariaDB servers with Galera. */
export const galera: Service = {
  kind: 'galera',
  serverName: 'mariadbd',
  create,
  start,
  inspect,
  apply,
}

/** Data for node 1 only: the others get theirs by state transfer when they join. */
async function create(progress: Progress): Promise<void> {
  progress('creating data')
  for (const n of NUMBERS) {
    makeDir(nodeDir('galera', n))
    own(nodeDir('galera', n))
    emptyData(n)
  }
  const sql = join(kindDir('galera'), 'initial.sql')
  writeFileSync(sql, INITIAL_SQL)
  await runOrThrow('mariadb-install-db', [
    '--no-defaults',
    '--user=mysql',
    `--datadir=${dataDir(1)}`,
    '--auth-root-authentication-method=normal',
    '--skip-name-resolve',
    '--skip-test-db',
    `--extra-file=${sql}`,
  ])
  writeFileSync(stateFile(1), INITIAL_STATE)
  own(stateFile(1))
}

async function start(numbers: readonly number[], progress: Progress): Promise<void> {
  const settings = readSettings('galera')
  for (const n of numbers) configure(n, settings)
  if (numbers.length === NUMBERS.length) {
    await bootstrap(progress)
    return
  }
  const survivors = NUMBERS.filter((n) => !numbers.includes(n) && serverProcess(galera, n) !== undefined)
  if ((await hasPrimary(survivors)) && (await joinInTurn(numbers, progress))) return
  const dead = numbers.filter((n) => serverProcess(galera, n) === undefined)
  await Promise.all(dead.map(async (n) => launch(n, positionArguments(await recoverPosition(n)))))
  await reunite(numbers, survivors, progress)
}

/**
 * Lets nodes join one after the other: at the same moment they make the membership protocol wait for its time-outs.
 *
 * False when the Primary component went away: those killed a moment ago may have been needed for its quorum.
 */
async function joinInTurn(numbers: readonly number[], progress: Progress): Promise<boolean> {
  for (const n of numbers) {
    if ((await joinCluster(n, progress)) === 'no Primary') return false
  }
  return true
}

/** Starts a node of a living cluster; when its data is of no use, once more without it. */
async function joinCluster(n: number, progress: Progress): Promise<Outcome> {
  const position = await recoverPosition(n)
  progress(`node ${n} joins ${position === undefined ? 'without data' : `from seqno ${position.seqno}`}`)
  await launch(n, positionArguments(position))
  let outcome = await becomesSynced(n)
  if (outcome === 'dead') {
    progress(`node ${n} died while joining: once more, with a full state transfer`)
    await killOwned((owner) => owner === label('galera', n))
    emptyData(n)
    await launch(n, [])
    outcome = await becomesSynced(n)
  }
  if (outcome === 'dead') throw new Error(`galera ${n} died while joining\n${tailOf(nodeLog('galera', n))}`)
  return outcome
}

/** Founds the cluster again on the node whose data goes furthest, then lets the others join. */
async function bootstrap(progress: Progress): Promise<void> {
  const positions = await Promise.all(NUMBERS.map(async (n) => ({ n, position: await recoverPosition(n) })))
  const best = positions.reduce((a, b) => (seqno(b.position) > seqno(a.position) ? b : a))
  progress(`node ${best.n} founds the cluster at seqno ${String(seqno(best.position))}`)
  for (const n of NUMBERS) forgetMembership(n)
  allowBootstrap(best.n)
  await launch(best.n, ['--wsrep-new-cluster', ...positionArguments(best.position)])
  const outcome = await becomesSynced(best.n, SYNC_TIMEOUT_MS)
  if (outcome !== 'Synced') {
    throw new Error(`galera ${best.n} cannot found the cluster: ${outcome}\n${tailOf(nodeLog('galera', best.n))}`)
  }
  await joinInTurn(
    NUMBERS.filter((n) => n !== best.n),
    progress,
  )
}

/**
 * Waits for nodes that were started beside survivors of a lost quorum.
 *
 * Only when nobody is missing can the old Primary component return; else there is nothing to wait for.
 */
async function reunite(started: readonly number[], survivors: readonly number[], progress: Progress): Promise<void> {
  const isAnyFrozen = survivors.some((n) => serverProcess(galera, n)?.isFrozen === true)
  if (started.length + survivors.length < NUMBERS.length || isAnyFrozen) {
    progress(`started node ${started.join(', ')}; there is no Primary component to join, and no quorum to make one`)
    return
  }
  progress('all nodes run again: waiting for the Primary component to return')
  try {
    await waitFor('Primary component', { timeoutMs: REUNION_TIMEOUT_MS }, async () =>
      (await hasPrimary(NUMBERS)) ? undefined : 'no node is Primary',
    )
  } catch {
    // Nothing can have been committed without a Primary component, so a new start loses nothing.
    progress('it did not: killing all nodes and founding the cluster again')
    await killOwned((owner) => NUMBERS.some((n) => owner === label('galera', n)))
    await bootstrap(progress)
    return
  }
  for (const n of NUMBERS) await becomesSynced(n)
}

function configure(n: number, settings: Settings): void {
  const { cert, key } = selfSigned()
  writeFileSync(certificateFile(n), cert)
  writeFileSync(keyFile(n), key, { mode: 0o600 })
  own(keyFile(n))
  writeFileSync(join(nodeDir('galera', n), 'my.cnf'), galeraConfig(n, settings))
}

async function launch(n: number, extra: readonly string[]): Promise<void> {
  const defaults = `--defaults-file=${join(nodeDir('galera', n), 'my.cnf')}`
  await spawnDetached('mariadbd', [defaults, ...extra], { owner: label('galera', n), log: nodeLog('galera', n) })
}

type Outcome = 'Synced' | 'dead' | 'no Primary'

/** Waits for a node that was started; less long when it died, or when there is nothing that it could join. */
async function becomesSynced(n: number, patienceMs = NO_PRIMARY_MS): Promise<Outcome> {
  let outcome: Outcome = 'Synced'
  let primarySeen = performance.now()
  const options = { timeoutMs: SYNC_TIMEOUT_MS, everyMs: 150, log: nodeLog('galera', n) }
  await waitFor(`galera ${n} Synced`, options, async () => {
    if (serverProcess(galera, n) === undefined) outcome = 'dead'
    if (outcome === 'dead') return undefined
    const status = await wsrepStatus(n)
    if (status?.isReady === true && status.stateComment === 'Synced') return undefined
    if (await hasPrimary(NUMBERS)) primarySeen = performance.now()
    else if (performance.now() - primarySeen > patienceMs) outcome = 'no Primary'
    if (outcome === 'no Primary') return undefined
    return status === undefined ? 'no answer' : `${status.clusterStatus}, ${status.stateComment}`
  })
  return outcome
}

async function inspect(n: number): Promise<Inspection> {
  const status = await wsrepStatus(n)
  if (status === undefined) return { isMember: false, role: 'no answer' }
  const { clusterStatus, stateComment, isReady, clusterSize, confId, lastCommitted, uptimeSeconds } = status
  const isPrimary = clusterStatus === 'Primary'
  const role = [
    clusterStatus,
    stateComment,
    `size ${clusterSize}`,
    ...(isPrimary ? [`conf ${confId}`] : []),
    `seqno ${lastCommitted}`,
    `up ${uptimeSeconds} s`,
  ]
  const isMember = isPrimary && isReady && stateComment === 'Synced' && clusterSize === NUMBERS.length
  return { isMember, role: role.join(', ') }
}

async function apply(settings: Settings): Promise<void> {
  const { 'evs.inactive_timeout': inactive = '', 'evs.suspect_timeout': suspect = '' } = failureDetection(settings)
  // Suspect may never exceed inactive, so which goes first depends on the direction; the third one settles it.
  const steps = [
    { 'evs.suspect_timeout': 'PT0.5S' },
    { 'evs.inactive_timeout': inactive },
    { 'evs.suspect_timeout': suspect },
  ]
  const alive = NUMBERS.filter((n) => serverProcess(galera, n)?.isFrozen === false)
  for (const n of alive) {
    for (const step of steps) await adminQuery(n, `SET GLOBAL wsrep_provider_options = '${providerOptions(step)}'`)
  }
}

async function hasPrimary(numbers: readonly number[]): Promise<boolean> {
  const all = await Promise.all(numbers.map((n) => wsrepStatus(n)))
  return all.some((status) => status?.clusterStatus === 'Primary')
}

function positionArguments(position: Position | undefined): readonly string[] {
  return position === undefined ? [] : [`--wsrep-start-position=${position.uuid}:${position.seqno}`]
}

function seqno(position: Position | undefined): bigint {
  return position?.seqno ?? -1n
}

function dataDir(n: number): string {
  return join(nodeDir('galera', n), 'data')
}

function emptyData(n: number): void {
  rmSync(dataDir(n), { recursive: true, force: true })
  mkdirSync(dataDir(n), { mode: 0o700 })
  own(dataDir(n))
}

function own(path: string): void {
  const { uid, gid } = account('mysql')
  chownSync(path, uid, gid)
}
