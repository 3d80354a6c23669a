import { type Kind, KINDS, label, type NodeAddress, nodes } from './address.js'
import { listFaults } from './nft.js'
import { type OwnedProcess, ownedProcesses } from './process.js'
import { type Service, serverProcess } from './service.js'
import { SERVICES } from './services.js'
import { readSettings, type Settings } from './state.js'

/** One node as it is now. */
export interface NodeStatus extends NodeAddress {
  readonly process: 'running' | 'frozen' | 'dead'
  /** Of the server itself; undefined when it is dead. */
  readonly pid: number | undefined
  /** True when it serves clients as a full member of its complete cluster. */
  readonly isMember: boolean
  /** What the node says about itself, for people. */
  readonly role: string
  /** Network faults in force, e.g. `blackhole-from-127.0.9.1`. */
  readonly faults: readonly string[]
}

/** One kind as it is now. */
export interface KindStatus {
  readonly kind: Kind
  /** True when every node is a member. Says nothing about faults between it and its clients. */
  readonly isWhole: boolean
  readonly settings: Settings
  readonly nodes: readonly NodeStatus[]
}

/** What {@link status} returns, one entry per kind asked for. */
export type ClusterStatus = readonly KindStatus[]

/** Looks at all nodes at once; a node that does not answer takes two seconds and breaks nothing. */
export async function status(kinds: readonly Kind[] = KINDS): Promise<ClusterStatus> {
  const processes = ownedProcesses()
  const faults = await listFaults()
  return Promise.all(kinds.map((kind) => statusOfKind(SERVICES[kind], processes, faults)))
}

async function statusOfKind(
  service: Service,
  processes: readonly OwnedProcess[],
  faults: readonly string[],
): Promise<KindStatus> {
  const { kind } = service
  const all = await Promise.all(nodes(kind).map((address) => statusOfNode(service, address, processes, faults)))
  return { kind, isWhole: all.every(({ isMember }) => isMember), settings: readSettings(kind), nodes: all }
}

async function statusOfNode(
  service: Service,
  address: NodeAddress,
  processes: readonly OwnedProcess[],
  faults: readonly string[],
): Promise<NodeStatus> {
  const prefix = `${label(address.kind, address.n)}-`
  const own = faults.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length))
  const server = serverProcess(service, address.n, processes)
  const known = { ...address, pid: server?.pid, faults: own }
  if (server === undefined) return { ...known, process: 'dead', isMember: false, role: 'dead' }
  if (server.isFrozen) return { ...known, process: 'frozen', isMember: false, role: 'frozen' }
  return { ...known, process: 'running', ...(await service.inspect(address.n)) }
}
