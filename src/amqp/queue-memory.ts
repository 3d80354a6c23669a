import { now } from '../core/timing.js'
import type { Delivery } from './delivery.js'
import { RecentIds, type Id } from './recent-ids.js'

/** How much is remembered to tell repeated messages. @internal */
export interface MemoryLimits {
  readonly maxIds: number
  readonly ttlMs: number
}

/** Finds the delivery of a message that waits for its handler or is being handled. @internal */
export interface Worker {
  readonly find: (id: Id) => Delivery | undefined
}

/**
 * What this process did with a queue's messages, shared by the transport's consumers of that queue.
 *
 * A message is only taken for a copy when one of the two says that it may be one, redelivered or sent again: an id alone
 * proves nothing, publishers may use one twice. What is in work is looked for and not kept: that is needed for suspects
 * only, and ordinary messages cost one entry each.
 *
 * Of some messages another copy may come when thousands of others have been handled, because a frozen node still holds
 * it: those that were sent again, and the last ones of a channel that was lost. They are kept apart, so that the others
 * do not drive them out.
 * @internal
 */
export class QueueMemory {
  readonly limits: MemoryLimits
  readonly #handled: RecentIds
  readonly #kept: RecentIds
  readonly #suspects: RecentIds
  readonly #workers = new Set<Worker>()
  #unusedSince = now()

  constructor(limits: MemoryLimits) {
    this.limits = limits
    this.#handled = new RecentIds(limits.maxIds, limits.ttlMs)
    this.#kept = new RecentIds(limits.maxIds, limits.ttlMs)
    this.#suspects = new RecentIds(limits.maxIds, limits.ttlMs)
  }

  /** How long no consumer has used it, in milliseconds; 0 while one does. */
  get unusedMs(): number {
    return this.#workers.size > 0 ? 0 : now() - this.#unusedSince
  }

  join(worker: Worker): void {
    this.#workers.add(worker)
  }

  leave(worker: Worker): void {
    this.#workers.delete(worker)
    this.#unusedSince = now()
  }

  /** Whether `delivery` repeats a message that was handled, or one in work; `undefined` for one that is to be handled. */
  judge({ id, isSuspect }: Delivery): 'handled' | Delivery | undefined {
    if (id === undefined) return undefined
    if (isSuspect) this.#suspects.add(id)
    else if (!this.#suspects.has(id)) return undefined
    if (this.#handled.has(id) || this.#kept.has(id)) return 'handled'
    for (const worker of this.#workers) {
      const found = worker.find(id)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** The message has been handled. */
  remember({ id, isSuspect, channel }: Delivery): void {
    if (id === undefined) return
    if (isSuspect || !channel.isOpen) this.#kept.add(id)
    else this.#handled.add(id)
  }

  /** A channel was lost, and these acknowledgements with it, perhaps. */
  keep(ids: readonly Id[]): void {
    for (const id of ids) this.#kept.add(id)
  }
}

const MAX_UNUSED = 100

/** The memories of a transport's queues; one outlives its consumers, as lost acknowledgements do. @internal */
export class QueueMemories {
  readonly #memories = new Map<string, QueueMemory>()

  /** The memory of a queue. Its limits are those of the consumer that came first. */
  of(queue: string, limits: MemoryLimits): QueueMemory {
    this.#dropUnused()
    const memory = this.#memories.get(queue) ?? new QueueMemory(limits)
    this.#memories.set(queue, memory)
    return memory
  }

  #dropUnused(): void {
    const unused = [...this.#memories].filter(([, { unusedMs }]) => unusedMs > 0)
    for (const [index, [queue, { unusedMs, limits }]] of unused.entries()) {
      if (unusedMs >= limits.ttlMs || index < unused.length - MAX_UNUSED) this.#memories.delete(queue)
    }
  }
}
