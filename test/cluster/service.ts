import { type Kind, label, nodes } from './address.js'
import { type OwnedProcess, ownedProcesses } from './process.js'
import type { Settings } from './state.js'
import type { Progress } from './wait.js'

/** What a node says about itself, or why it says nothing. */
export interface Inspection {
  /** True when the node serves clients as a full member of its complete cluster. */
  readonly isMember: boolean
  /** One line for people. */
  readonly role: string
}

/** What the verbs need to know about one kind of cluster. */
export interface Service {
  readonly kind: Kind
  /** Name of the server's process, to tell it from the helpers it starts. */
  readonly serverName: string
  /** Lays out data for a new cluster; starts nothing. */
  create(progress: Progress): Promise<void>
  /** Starts dead nodes, all at once, and waits for them as far as their cluster can take them back. */
  start(numbers: readonly number[], progress: Progress): Promise<void>
  /** Asks one running node; answers within about two seconds, whatever state the node is in. */
  inspect(n: number): Promise<Inspection>
  /** Brings new settings to the running nodes. */
  apply(settings: Settings): Promise<void>
}

/** The server process of a node, without its helpers; undefined when the node is dead. */
export function serverProcess(
  service: Service,
  n: number,
  processes: readonly OwnedProcess[] = ownedProcesses(),
): OwnedProcess | undefined {
  return processes.find(({ owner, name }) => owner === label(service.kind, n) && name === service.serverName)
}

/** Numbers of the nodes that have no server process. */
export function deadNodes(service: Service): readonly number[] {
  const processes = ownedProcesses()
  return nodes(service.kind)
    .map(({ n }) => n)
    .filter((n) => serverProcess(service, n, processes) === undefined)
}
