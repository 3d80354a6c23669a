import { type Kind, label, node } from './address.js'
import { addDelay } from './delay.js'
import { type BlackholeOptions, cutClients, cutPeers, resetClients } from './faults.js'
import { holdsResources, killOwned, type OwnedProcess, signal } from './process.js'
import { setMemoryAlarm } from './rabbit.js'
import { serverProcess } from './service.js'
import { SERVICES } from './services.js'
import { nodeLog } from './state.js'
import { waitFor } from './wait.js'

const STOP_TIMEOUT_MS = 60_000

/** Kills a node with SIGKILL, helpers included; resolves when its processes are gone. No error if it is dead. */
export async function kill(kind: Kind, n: number): Promise<void> {
  node(kind, n)
  await killOwned((owner) => owner === label(kind, n))
}

/** Lets a node end properly (SIGTERM); resolves when it has. No error if it is dead. */
export async function stop(kind: Kind, n: number): Promise<void> {
  const server = find(kind, n)
  if (server === undefined) return
  if (server.isFrozen) throw new Error(`${label(kind, n)} is frozen and would not hear it: thaw it first, or kill it`)
  signal(server.pid, 'SIGTERM')
  const options = { timeoutMs: STOP_TIMEOUT_MS, everyMs: 50, log: nodeLog(kind, n) }
  await waitFor(`end of ${label(kind, n)}`, options, () => (holdsResources(server.pid) ? 'still running' : undefined))
}

/** Stops a node in its tracks (SIGSTOP): the kernel still accepts connections for it, but nothing answers. */
export async function freeze(kind: Kind, n: number): Promise<void> {
  await sendAndSee(kind, n, 'SIGSTOP', true)
}

/**
 * Lets a frozen node go on (SIGCONT).
 *
 * A RabbitMQ node that slept for longer than net_ticktime stays partitioned after that; see `heal`.
 */
export async function thaw(kind: Kind, n: number): Promise<void> {
  await sendAndSee(kind, n, 'SIGCONT', false)
}

/** Cuts clients off a node, silently unless `reject`; the connections between the nodes go on. */
export async function blackhole(kind: Kind, n: number, options: BlackholeOptions = {}): Promise<void> {
  await cutClients(kind, n, options)
}

/** Resets every client connection that a node has at this moment. */
export async function reset(kind: Kind, n: number): Promise<void> {
  await resetClients(kind, n)
}

/** Delays everything between a node and clients that connect from now on by `ms`, each way. */
export async function delay(kind: Kind, n: number, ms: number): Promise<void> {
  if (!Number.isFinite(ms) || ms < 0) throw new Error(`the delay must be a number of milliseconds, not ${ms}`)
  await addDelay(kind, n, ms)
}

/** Cuts a node off the other nodes of its cluster; clients still reach all of them. */
export async function partition(kind: Kind, n: number): Promise<void> {
  await cutPeers(kind, n)
}

/** Raises or clears the memory alarm of a RabbitMQ node: all nodes then block connections that publish. */
export async function alarm(n: number, isOn: boolean): Promise<void> {
  node('rabbit', n)
  await setMemoryAlarm(n, isOn)
}

async function sendAndSee(kind: Kind, n: number, name: NodeJS.Signals, isFrozen: boolean): Promise<void> {
  const server = find(kind, n)
  if (server === undefined) throw new Error(`${label(kind, n)} is dead`)
  signal(server.pid, name)
  await waitFor(`${name} of ${label(kind, n)}`, { timeoutMs: 5000, everyMs: 10 }, () => {
    const now = find(kind, n)
    return now === undefined || now.isFrozen === isFrozen ? undefined : 'no effect yet'
  })
}

function find(kind: Kind, n: number): OwnedProcess | undefined {
  node(kind, n)
  return serverProcess(SERVICES[kind], n)
}
