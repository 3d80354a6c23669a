import { now } from '../core/timing.js'
import type { Lease } from './lease.js'

/** A connection is held for longer than `leakDetectionMs`. */
export interface LeakEvent {
  /** `host:port` of the node. */
  readonly host: string
  /** For how long it is held already. */
  readonly heldMs: number
  /** Where it was asked for. */
  readonly stack: string
}

/** Deep enough to show the borrower above the frames of this package. */
const STACK_DEPTH = 30

/** Where the caller stands; its cost is why leak detection is off by default. @internal */
export function borrowerStack(): string {
  const depth = Error.stackTraceLimit
  Error.stackTraceLimit = STACK_DEPTH
  const { stack = '' } = new Error('borrowed')
  Error.stackTraceLimit = depth
  return stack.split('\n').slice(2).join('\n')
}

/** Reports every checkout that lasts for too long, once. @internal */
export class LeakWatch {
  readonly #afterMs: number
  readonly #report: (leak: LeakEvent) => void
  readonly #timers = new Map<Lease, NodeJS.Timeout>()

  constructor(afterMs: number, report: (leak: LeakEvent) => void) {
    this.#afterMs = afterMs
    this.#report = report
  }

  /** Watches the checkout that is asked for at `stack`, from the moment it is had. */
  async start(checkout: Lease | Promise<Lease>, stack: string): Promise<Lease> {
    const lease = await checkout
    const since = now()
    const tell = (): void => this.#report({ host: lease.node.name, heldMs: now() - since, stack })
    this.#timers.set(lease, setTimeout(tell, this.#afterMs).unref())
    return lease
  }

  end(lease: Lease): void {
    clearTimeout(this.#timers.get(lease))
    this.#timers.delete(lease)
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}
