import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { ADMIN_ADDRESS, DELAY_PORT_OFFSET, type Kind, label, node } from './address.js'
import type { DelaySettings } from './delay-proxy.js'
import { addFault, removeFaults } from './nft.js'
import { ownedProcesses, signal, spawnDetached } from './process.js'
import { accepts } from './probe.js'
import { kindDir } from './state.js'
import { waitFor } from './wait.js'

/**
 * Delays everything between a node and clients that connect from now on by `ms`, each way.
 *
 * Connections that exist keep their old way; so does nothing after `resetClients`.
 */
export async function addDelay(kind: Kind, n: number, ms: number): Promise<void> {
  const { host, port } = node(kind, n)
  const proxyPort = port + DELAY_PORT_OFFSET
  await runProxy(kind, n, { delayMs: ms, isDraining: false })
  const name = delayName(kind, n)
  await removeFaults((fault) => fault.startsWith(`${name}-`), true)
  // First packets only: a connection that began before this rule must not be bent to the proxy in mid-stream.
  const opening = 'tcp flags & (syn | ack) == syn'
  const rule = `ip daddr ${host} ip saddr != ${ADMIN_ADDRESS} tcp dport ${port} ${opening} dnat ip to ${host}:${proxyPort}`
  await addFault({ name: `${name}-${ms}ms`, rules: [], natRules: [rule] })
}

/** Ends the delay of the connections of a node's proxy; it goes on without delay until the last one is closed. */
export function drainProxy(kind: Kind, n: number): void {
  for (const { pid } of proxiesOf(kind, n)) {
    writeSettings(kind, n, { delayMs: 0, isDraining: true })
    signal(pid, 'SIGUSR2')
  }
}

/** True while a delay proxy runs for any node; connections through it need the address translation. */
export function isAnyProxyAlive(): boolean {
  return ownedProcesses().some(({ owner }) => owner.endsWith('-delay'))
}

async function runProxy(kind: Kind, n: number, settings: DelaySettings): Promise<void> {
  const { host, port } = node(kind, n)
  const log = join(kindDir(kind), `${delayName(kind, n)}.log`)
  writeSettings(kind, n, settings)
  for (const { pid } of proxiesOf(kind, n)) signal(pid, 'SIGUSR2')
  await waitFor(`delay proxy of ${label(kind, n)}`, { timeoutMs: 20_000, everyMs: 50, log }, async () => {
    // In every round: an old one that was draining may just have ended.
    if (proxiesOf(kind, n).length === 0) {
      const args = ['--import', loader(), fileURLToPath(new URL('delay-proxy.ts', import.meta.url))]
      await spawnDetached(process.execPath, [...args, host, String(port), settingsFile(kind, n)], {
        owner: delayName(kind, n),
        log,
      })
    }
    return (await accepts(host, port + DELAY_PORT_OFFSET)) ? undefined : 'does not listen'
  })
}

/** TypeScript for plain Node: the caller may be vitest, which loads this module in a way of its own. */
function loader(): string {
  return pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
}

function proxiesOf(kind: Kind, n: number): readonly { readonly pid: number }[] {
  return ownedProcesses().filter(({ owner }) => owner === delayName(kind, n))
}

function delayName(kind: Kind, n: number): string {
  return `${label(kind, n)}-delay`
}

function settingsFile(kind: Kind, n: number): string {
  return join(kindDir(kind), `${delayName(kind, n)}.json`)
}

function writeSettings(kind: Kind, n: number, settings: DelaySettings): void {
  writeFileSync(settingsFile(kind, n), JSON.stringify(settings))
}
