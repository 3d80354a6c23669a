import { ADMIN_ADDRESS, type Kind, label, node, nodes } from './address.js'
import { addFault, clientPorts, type Fault } from './nft.js'
import { run } from './process.js'
import { distributionPort } from './rabbit-admin.js'
import { waitFor } from './wait.js'

/** Whom a blackhole cuts off: everybody, or only some clients. */
export interface BlackholeOptions {
  /** Only clients that connect from this address. */
  readonly from?: string
  /** Only connections from this client port: one flow, while all others go on. */
  readonly fromPort?: number
  /** Only clients whose sockets belong to this numeric user. */
  readonly uid?: number
  /** Answer with a TCP reset instead of silence. */
  readonly reject?: boolean
}

/** Cuts clients off the client port of a node, in both directions; connections between the nodes go on. */
export async function cutClients(kind: Kind, n: number, options: BlackholeOptions): Promise<void> {
  const { host, port } = node(kind, n)
  const { from, fromPort, uid, reject = false } = options
  // The resets pass through the same rules, and must get through.
  const verdict = reject ? 'tcp flags & rst == 0 reject with tcp reset' : 'drop'
  const client = from ?? `!= ${ADMIN_ADDRESS}`
  const flow = (side: string): string => (fromPort === undefined ? '' : ` tcp ${side} ${fromPort}`)
  const toNode = `ip saddr ${client} ip daddr ${host} tcp dport ${clientPorts(port)}${flow('sport')}`
  const fromNode = `ip daddr ${client} ip saddr ${host} tcp sport ${clientPorts(port)}${flow('dport')}`
  const name = [
    label(kind, n),
    reject ? 'reject' : 'blackhole',
    ...(from === undefined ? [] : ['from', from]),
    ...(fromPort === undefined ? [] : ['port', String(fromPort)]),
    ...(uid === undefined ? [] : ['uid', String(uid)]),
  ].join('-')
  if (uid === undefined) await addFault({ name, rules: [`${toNode} ${verdict}`, `${fromNode} ${verdict}`] })
  else await addFault(cutUser(name, uid, toNode, fromNode, verdict))
}

/**
 * A packet's owner is known only where it is sent. So the client's first packet puts its address into a set,
 * and the way back is cut for the addresses in the set.
 */
function cutUser(name: string, uid: number, toNode: string, fromNode: string, verdict: string): Fault {
  const set = name.replaceAll(/[-.]/g, '_')
  return {
    name,
    set,
    rules: [
      `meta skuid ${uid} ${toNode} add @${set} { ip saddr . tcp sport } ${verdict}`,
      `${fromNode} ip daddr . tcp dport @${set} ${verdict}`,
    ],
  }
}

/** Cuts a node off the other nodes of its cluster, in both directions; clients still reach all of them. */
export async function cutPeers(kind: Kind, n: number): Promise<void> {
  const name = `${label(kind, n)}-partition`
  const { host } = node(kind, n)
  const peers = nodes(kind).filter((peer) => peer.n !== n)
  if (kind === 'memcached') throw new Error('memcached servers do not know each other: there is nothing to partition')
  if (kind === 'galera') {
    // Galera binds its own connections to the node's address, so the two addresses tell everything.
    const others = `{ ${peers.map((peer) => peer.host).join(', ')} }`
    const ports = '{ 4444, 4567, 4568 }'
    const sides = [`ip saddr ${host} ip daddr ${others}`, `ip saddr ${others} ip daddr ${host}`]
    await addFault({
      name,
      rules: sides.flatMap((side) => [`${side} tcp dport ${ports} drop`, `${side} tcp sport ${ports} drop`]),
    })
    return
  }
  // The nodes listen on the same address, and each connects from its own.
  const own = String(distributionPort(n))
  const foreign = `{ ${peers.map((peer) => String(distributionPort(peer.n))).join(', ')} }`
  const peerHosts = `{ ${peers.map((peer) => peer.host).join(', ')} }`
  const rules = [
    `ip saddr ${host} tcp dport ${foreign} drop`,
    `ip daddr ${host} tcp sport ${foreign} drop`,
    `ip saddr ${peerHosts} tcp dport ${own} drop`,
    `ip daddr ${peerHosts} tcp sport ${own} drop`,
  ]
  await addFault({ name, rules })
}

/**
 * Resets every client connection of a node, once.
 *
 * The kernel destroys the server's sockets, which sends the resets: that also reaches idle connections,
 * for which a firewall rule would wait for ever, and works while the server is frozen.
 */
export async function resetClients(kind: Kind, n: number): Promise<void> {
  const { host, port } = node(kind, n)
  const listeners = clientPorts(port)
    .replace(/[{} ]/g, '')
    .split(',')
    .map((listener) => `src ${host}:${listener}`)
  const filter = `( ${listeners.join(' or ')} ) and not dst ${ADMIN_ADDRESS}`
  const before = await established(filter)
  await run('ss', ['-K', '-Htn', 'state', 'established', filter])
  // Only those that were there: clients connect again at once.
  await waitFor(`reset of ${label(kind, n)}`, { timeoutMs: 5000, everyMs: 50 }, async () => {
    const left = (await established(filter)).filter((pair) => before.includes(pair))
    return left.length === 0 ? undefined : `${left.length} connections are left; does the kernel support ss -K?`
  })
}

async function established(filter: string): Promise<readonly string[]> {
  const { stdout } = await run('ss', ['-Htn', 'state', 'established', filter])
  return stdout
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.trim().split(/\s+/).slice(2).join(' '))
}
