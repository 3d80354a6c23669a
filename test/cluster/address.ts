/** The three services; also the words of the command line. */
export type Kind = 'galera' | 'rabbit' | 'memcached'

/** Where clients find one node. */
export interface NodeAddress {
  readonly kind: Kind
  /** Counts from 1. */
  readonly n: number
  readonly host: string
  readonly port: number
}

/** Every kind, in the order in which they are printed. */
export const KINDS: readonly Kind[] = ['galera', 'rabbit', 'memcached']

const LAYOUT: Readonly<Record<Kind, { readonly network: string; readonly port: number; readonly size: number }>> = {
  galera: { network: '127.0.1', port: 3306, size: 3 },
  rabbit: { network: '127.0.2', port: 5672, size: 3 },
  memcached: { network: '127.0.3', port: 11211, size: 4 },
}

/**
 * Source address of this module's own connections (status probes, delay proxies).
 *
 * Faults leave it alone: a blackholed node can still be asked how it is, and a delay proxy
 * is not redirected to itself.
 */
export const ADMIN_ADDRESS = '127.0.8.1'

/** A delay proxy listens on the node's own address, this far above the node's port. */
export const DELAY_PORT_OFFSET = 8000

/** The nodes of a kind, running or not. */
export function nodes(kind: Kind): readonly NodeAddress[] {
  const { network, port, size } = LAYOUT[kind]
  return Array.from({ length: size }, (_, i) => ({ kind, n: i + 1, host: `${network}.${String(i + 1)}`, port }))
}

/** One node; throws when the kind has no node of that number. */
export function node(kind: Kind, n: number): NodeAddress {
  const found = nodes(kind).find((candidate) => candidate.n === n)
  if (found === undefined) throw new Error(`${kind} has nodes 1 to ${String(nodes(kind).length)}, not ${n}`)
  return found
}

/** Short name of a node, used in messages, process marks and firewall comments. */
export function label(kind: Kind, n: number): string {
  return `${kind}-${n}`
}
