import { type Kind, nodes } from '../cluster/index.js'
import { connections } from './connections.js'
import type { Subject } from './subject.js'

/** The number of the node that a client uses: as it says itself, else the one it has most connections to. */
export function nodeInUse(kind: Kind, subject: Subject): number {
  const said = subject.inUse?.()
  const all = nodes(kind).map(({ n, host, port }) => ({ n, name: `${host}:${port}` }))
  if (said !== undefined) {
    const found = all.find(({ name }) => name === said)
    if (found === undefined) throw new Error(`${subject.name} uses ${said}, which is no ${kind} node`)
    return found.n
  }
  const remotes = connections(subject.pids?.()).map(({ remote }) => remote)
  const counts = all.map(({ n, name }) => ({ n, count: remotes.filter((remote) => remote === name).length }))
  const best = counts.reduce((a, b) => (b.count > a.count ? b : a))
  if (best.count === 0) throw new Error(`${subject.name} has no connection to any ${kind} node`)
  return best.n
}

/** `host:port` of all nodes of a kind. */
export function hostList(kind: Kind): readonly string[] {
  return nodes(kind).map(({ host, port }) => `${host}:${port}`)
}

/** The node after a given one, round the list. */
export function nextNode(kind: Kind, n: number): number {
  return (n % nodes(kind).length) + 1
}
