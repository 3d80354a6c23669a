import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, readdirSync } from 'node:fs'
import { stateDir } from './state.js'
import { waitFor } from './wait.js'

/** What a program printed, and how it ended: -1 when it was killed at its time limit. */
export interface RunResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Settings of {@link run}. */
export interface RunOptions {
  readonly timeoutMs?: number
  readonly input?: string
  readonly env?: NodeJS.ProcessEnv
}

/** Runs a program to its end; never rejects, except when the program does not exist. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { timeoutMs = 30_000, input = '', env = process.env } = options
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { timeout: timeoutMs, killSignal: 'SIGKILL', env, maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error === null) resolve({ code: 0, stdout, stderr })
        else if (error.code === 'ENOENT') reject(new Error(`${command} is not installed`))
        else resolve({ code: typeof error.code === 'number' ? error.code : -1, stdout, stderr })
      },
    )
    // A program that ends before it has read everything must not kill this process with EPIPE.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}

/** Like {@link run}, but rejects with what the program printed when it fails. */
export async function runOrThrow(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options)
  if (code === 0) return stdout
  throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${(stderr + stdout).trim().slice(-2000)}`)
}

/** One process that this module started, or that such a process started. */
export interface OwnedProcess {
  readonly pid: number
  readonly owner: string
  readonly name: string
  readonly isFrozen: boolean
}

/**
 * Environment variable by which our processes are found again, also by a later run of the command line.
 *
 * Unlike a pid file it is inherited (state transfer scripts, Erlang's port programs), cannot go stale, and
 * is there from the first moment: RabbitMQ removes its pid file while it boots.
 */
const MARK = 'OPENSTACK_HA_NODE'

function markOf(owner: string): string {
  return `${MARK}=${stateDir()}#${owner}`
}

/** Our processes that are alive, of all owners. Zombies do not count: nothing may be there to reap them. */
export function ownedProcesses(): readonly OwnedProcess[] {
  const prefix = markOf('')
  return readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return []
    try {
      const mark = readFileSync(`/proc/${entry}/environ`, 'utf8')
        .split('\0')
        .find((line) => line.startsWith(prefix))
      if (mark === undefined) return []
      return describe(Number(entry), mark.slice(prefix.length))
    } catch {
      // Ended since the directory was read.
      return []
    }
  })
}

function describe(pid: number, owner: string): readonly OwnedProcess[] {
  const stat = /\((?<name>.*)\) (?<state>\S)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.groups
  const state = stat?.['state'] ?? 'X'
  if (state === 'Z' || state === 'X') return []
  return [{ pid, owner, name: stat?.['name'] ?? '', isFrozen: state === 'T' }]
}

/** How to start a process that outlives this one. */
export interface DetachedOptions {
  readonly owner: string
  readonly log: string
  readonly env?: NodeJS.ProcessEnv
  readonly uid?: number
  readonly gid?: number
}

/** Starts a process in a session of its own, so that it survives the command line and the terminal. */
export async function spawnDetached(
  command: string,
  args: readonly string[],
  options: DetachedOptions,
): Promise<number> {
  const { owner, log, env = process.env, ...identity } = options
  const output = openSync(log, 'a')
  try {
    const mark = markOf(owner)
    const child = spawn(command, args, {
      detached: true,
      cwd: '/',
      stdio: ['ignore', output, output],
      env: { ...env, [MARK]: mark.slice(MARK.length + 1) },
      ...identity,
    })
    await once(child, 'spawn')
    child.unref()
    if (child.pid === undefined) throw new Error(`${command} has no pid`)
    return child.pid
  } finally {
    closeSync(output)
  }
}

/** Sends a signal; a process that is already gone is no error. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

/** Kills every process of the owners for which `matches` holds, and waits until they are gone. */
export async function killOwned(matches: (owner: string) => boolean): Promise<void> {
  const killed = new Set<number>()
  await waitFor('kill -9', { timeoutMs: 10_000, everyMs: 20 }, () => {
    // Again in every round: a start script may have forked since the last one.
    for (const { pid, owner } of ownedProcesses()) {
      if (!matches(owner)) continue
      signal(pid, 'SIGKILL')
      killed.add(pid)
    }
    const left = [...killed].filter(holdsResources)
    return left.length === 0 ? undefined : `alive: ${left.join(', ')}`
  })
}

/**
 * True until the last thread of a process has ended.
 *
 * The first one often ends earlier: the process then looks like a zombie, without an environment, while its
 * sockets are still open.
 */
export function holdsResources(pid: number): boolean {
  try {
    if (readdirSync(`/proc/${pid}/task`).length > 1) return true
    return describe(pid, '').length > 0
  } catch {
    return false
  }
}

/** Numeric user and group of a system account. */
export function account(name: string): { uid: number; gid: number } {
  const entry = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${name}:`))
    ?.split(':')
  if (entry === undefined) throw new Error(`this machine has no user '${name}'`)
  return { uid: Number(entry[2]), gid: Number(entry[3]) }
}
