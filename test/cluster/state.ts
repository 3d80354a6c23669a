import { randomUUID } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, rmdirSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type Kind, label } from './address.js'
import { sleep } from './wait.js'

/** Everything the clusters leave on disk is below this directory. */
export function stateDir(): string {
  return process.env['OPENSTACK_HA_CLUSTER_DIR'] ?? join(tmpdir(), 'openstack-ha-cluster')
}

/** Data, configuration and logs of one kind. */
export function kindDir(kind: Kind): string {
  return join(stateDir(), kind)
}

/** Data, configuration and logs of one node. */
export function nodeDir(kind: Kind, n: number): string {
  return join(kindDir(kind), String(n))
}

/** The log of one node: what its server writes, and what its start script prints. */
export function nodeLog(kind: Kind, n: number): string {
  return join(kindDir(kind), `${label(kind, n)}.log`)
}

/** How fast the clusters themselves give up on a node. Belongs in every published figure. */
export interface Settings {
  /** Galera's `evs.suspect_timeout`, in milliseconds; `evs.inactive_timeout` is twice that. @default 3000 */
  readonly suspectTimeoutMs: number
  /** Erlang's `net_ticktime`, in seconds. @default 8 */
  readonly netTicktimeSeconds: number
}

const DEFAULT_SETTINGS: Settings = Object.freeze({ suspectTimeoutMs: 3000, netTicktimeSeconds: 8 })

/** The settings a kind was started with; the defaults when it never was. */
export function readSettings(kind: Kind): Settings {
  try {
    const stored = JSON.parse(readFileSync(join(kindDir(kind), 'settings.json'), 'utf8')) as Partial<Settings>
    return { ...DEFAULT_SETTINGS, ...stored }
  } catch {
    return DEFAULT_SETTINGS
  }
}

/** Keeps the settings for later starts of single nodes. */
export function writeSettings(kind: Kind, settings: Settings): void {
  writeFileSync(join(kindDir(kind), 'settings.json'), JSON.stringify(settings))
}

/** Creates a directory that other users can pass through, whatever the umask. */
export function makeDir(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o755 })
}

/** Removes the state directory when nothing is left in it. */
export function removeStateDirIfEmpty(): void {
  try {
    rmdirSync(stateDir())
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY'].includes(errnoOf(error))) throw error
  }
}

/** The `code` of a system error, or the empty string. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/**
 * Runs `action` while no other process (or other caller in this one) holds the lock of that name.
 *
 * A lock whose holder died is taken over. Not reentrant.
 */
export async function withLock<T>(name: string, timeoutMs: number, action: () => Promise<T>): Promise<T> {
  const release = await takeLock(name, timeoutMs)
  try {
    return await action()
  } finally {
    release()
  }
}

/** Takes a lock and returns what gives it back; rejects with the holder's pid when it stays taken. */
export async function takeLock(
  name: string,
  timeoutMs: number,
  onWait?: (holder: number) => void,
): Promise<() => void> {
  // Beside the state directory, not in it: `down` removes the directory while it holds the lock.
  const file = `${stateDir()}.${name}.lock`
  makeDir(dirname(file))
  const deadline = performance.now() + timeoutMs
  for (let told = false; ;) {
    if (create(file)) {
      return () => {
        unlinkQuietly(file)
      }
    }
    const holder = holderOf(file)
    if (holder === 'gone') {
      unlinkQuietly(file)
      continue
    }
    if (performance.now() > deadline) throw new Error(`process ${holder} still holds ${file}`)
    if (!told && typeof holder === 'number') onWait?.(holder)
    told = true
    await sleep(50)
  }
}

/** By link, not by exclusive write: the file must never be seen without its holder's pid in it. */
function create(file: string): boolean {
  const draft = `${file}.${randomUUID()}`
  writeFileSync(draft, String(process.pid))
  try {
    linkSync(draft, file)
    return true
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false
    throw error
  } finally {
    unlinkQuietly(draft)
  }
}

function holderOf(file: string): number | 'gone' | 'unknown' {
  let pid: number
  try {
    pid = Number(readFileSync(file, 'utf8'))
  } catch {
    return 'unknown'
  }
  try {
    process.kill(pid, 0)
    return pid
  } catch (error) {
    return errnoOf(error) === 'ESRCH' ? 'gone' : pid
  }
}

function unlinkQuietly(file: string): void {
  try {
    unlinkSync(file)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}
