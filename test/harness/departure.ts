import { ADMIN_ADDRESS } from '../cluster/address.js'
import { connections } from './connections.js'

const EVERY_MS = 100

/** Watches when processes give up the connections that they had to a node: the kernel knows, whatever a client says. */
export class Departure {
  readonly #pids: readonly number[]
  readonly #before: ReadonlySet<string>
  readonly #timer: NodeJS.Timeout
  #leftAt: number | undefined

  constructor(pids: readonly number[], host: string) {
    this.#pids = pids
    this.#before = new Set(
      connections(pids)
        .filter(({ remote, local }) => remote === host && !local.startsWith(`${ADMIN_ADDRESS}:`))
        .map(({ local }) => local),
    )
    this.#timer = setInterval(() => this.#look(), EVERY_MS)
  }

  /** Connections that there were. */
  get before(): number {
    return this.#before.size
  }

  /** Connections of these that there are still. */
  get left(): number {
    return connections(this.#pids).filter(({ local }) => this.#before.has(local)).length
  }

  /** When the last of them was gone, on the clock of `performance.now()`. */
  get leftAt(): number | undefined {
    return this.#leftAt
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    if (this.left > 0) return
    this.#leftAt = performance.now()
    this.stop()
  }
}
