import { Deferred } from '../core/timing.js'
import { BackpressureError } from './errors.js'

/** What the outbox needs to know of what it holds. @internal */
export interface Held {
  readonly bytes: number
  readonly isSettled: boolean
}

/**
 * Counts everything that is published and not finished, and keeps the order of what still waits to be sent.
 *
 * An entry is held from `add` to `release`, wherever it is meanwhile: waiting here, on a channel, or in a pause.
 * @internal
 */
export class Outbox<E extends Held> {
  readonly #maxMessages: number
  readonly #maxBytes: number
  readonly #held = new Set<E>()
  #waiting = new Set<E>()
  #bytes = 0
  #whenEmpty: Deferred<void> | undefined

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages
    this.#maxBytes = maxBytes
  }

  get messages(): number {
    return this.#held.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Throws `BackpressureError` unless a message of `bytes` fits. */
  checkRoom(bytes: number, reason?: Error): void {
    if (this.#held.size < this.#maxMessages && this.#bytes + bytes <= this.#maxBytes) return
    throw new BackpressureError(this.#held.size, this.#bytes, reason)
  }

  /** Takes an entry in, behind all others. */
  add(entry: E): void {
    this.#held.add(entry)
    this.#bytes += entry.bytes
    this.#waiting.add(entry)
  }

  /** The entry that has waited longest. */
  take(): E | undefined {
    for (const entry of this.#waiting) {
      this.#waiting.delete(entry)
      return entry
    }
    return undefined
  }

  /** Puts entries that were taken back in front of all others, in their order; settled ones are released. */
  putBack(entries: readonly E[]): void {
    const unsettled = entries.filter((entry) => this.#keep(entry))
    this.#waiting = new Set([...unsettled, ...this.#waiting])
  }

  /** Puts an entry that was taken back behind all others; a settled one is released. */
  append(entry: E): void {
    if (this.#keep(entry)) this.#waiting.add(entry)
  }

  /** Forgets an entry; nothing waits for it any more. */
  release(entry: E): void {
    this.#waiting.delete(entry)
    if (!this.#held.delete(entry)) return
    this.#bytes -= entry.bytes
    if (this.#held.size === 0) {
      this.#whenEmpty?.resolve()
      this.#whenEmpty = undefined
    }
  }

  /** Everything held, oldest first. */
  all(): readonly E[] {
    return [...this.#held]
  }

  /** Resolves when nothing is held. */
  async empty(): Promise<void> {
    if (this.#held.size === 0) return
    this.#whenEmpty ??= new Deferred()
    await this.#whenEmpty.promise
  }

  #keep(entry: E): boolean {
    if (entry.isSettled) this.release(entry)
    return !entry.isSettled
  }
}
