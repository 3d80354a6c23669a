import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './process.js'
import { nodeDir } from './state.js'

/** How far the data of a node goes in the history of its cluster. */
export interface Position {
  readonly uuid: string
  readonly seqno: bigint
}

const NO_HISTORY = '00000000-0000-0000-0000-000000000000'

/**
 * Finds the position of a dead node: from its state file when it was stopped properly, else by a recovery run.
 *
 * Undefined when the node has no usable data; it then needs a full state transfer.
 */
export async function recoverPosition(n: number): Promise<Position | undefined> {
  const clean = parse(/^uuid:\s*(?<uuid>\S+)\s+seqno:\s*(?<seqno>-?\d+)/m, read(stateFile(n)))
  if (clean !== undefined) return clean
  if (!existsSync(join(nodeDir('galera', n), 'data', 'ibdata1'))) return undefined
  const log = join(nodeDir('galera', n), 'recover.log')
  rmSync(log, { force: true })
  const defaults = `--defaults-file=${join(nodeDir('galera', n), 'my.cnf')}`
  await run('mariadbd', [defaults, '--wsrep-recover', `--log-error=${log}`], { timeoutMs: 90_000 })
  return parse(/Recovered position:\s*(?<uuid>[0-9a-f-]{36}):(?<seqno>-?\d+)/, read(log))
}

/** Marks a dead node as the one that may found the cluster again, and lets go of the old membership. */
export function allowBootstrap(n: number): void {
  const file = stateFile(n)
  const state = read(file)
  // In place, so that the file keeps its owner.
  writeFileSync(file, state.replace(/^safe_to_bootstrap:.*$/m, 'safe_to_bootstrap: 1'))
}

/** Forgets which nodes the node saw last; a new cluster must not wait for that membership to return. */
export function forgetMembership(n: number): void {
  rmSync(join(nodeDir('galera', n), 'data', 'gvwstate.dat'), { force: true })
}

/** The state file of data that belongs to no cluster yet. */
export const INITIAL_STATE: string = `# GALERA saved state
version: 2.1
uuid:    ${NO_HISTORY}
seqno:   -1
safe_to_bootstrap: 0
`

/** Where Galera keeps the position of a node that was stopped properly. */
export function stateFile(n: number): string {
  return join(nodeDir('galera', n), 'data', 'grastate.dat')
}

function parse(pattern: RegExp, text: string): Position | undefined {
  const found = pattern.exec(text)?.groups
  const uuid = found?.['uuid'] ?? NO_HISTORY
  const seqno = BigInt(found?.['seqno'] ?? -1)
  return uuid === NO_HISTORY || seqno < 0n ? undefined : { uuid, seqno }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
