import { LinkedList, type Place } from '../core/linked-list.js'
import { Deferred } from '../core/timing.js'
import { BackpressureError } from './errors.js'

/** What the outbox needs to know of what it holds. @internal */
export interface Held<E> {
  readonly bytes: number
  readonly isSettled: boolean
  /** Why it waits for room; set and cleared by the outbox. */
  refusal: BackpressureError | undefined
  /** Where the outbox holds it, and where it waits in a queue; the outbox's own. */
  held: Place<E> | undefined
  queued: Place<E> | undefined
}

/**
 * Counts everything that is published and not finished, and keeps the order of what still waits to be sent.
 *
 * An entry is held from `add` to `release`, wherever it is meanwhile: waiting here, on a channel, or in a pause. What
 * came when there was no room, and may wait for some, is not held yet; that is bounded too, by the same numbers.
 * @internal
 */
export class Outbox<E extends Held<E>> {
  readonly #maxMessages: number
  readonly #maxBytes: number
  readonly #onAdmitted: () => void
  readonly #held = new LinkedList<E>()
  readonly #unsent = new LinkedList<E>()
  /** Not held yet, in order. */
  readonly #lobby = new LinkedList<E>()
  #bytes = 0
  #lobbyBytes = 0
  #whenEmpty: Deferred<void> | undefined

  /** `onAdmitted` is called when there was room for entries that waited for it. */
  constructor(maxMessages: number, maxBytes: number, onAdmitted: () => void = () => undefined) {
    this.#maxMessages = maxMessages
    this.#maxBytes = maxBytes
    this.#onAdmitted = onAdmitted
  }

  get messages(): number {
    return this.#held.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Messages that wait for room. */
  get waiting(): number {
    return this.#lobby.size
  }

  /** `undefined` if a message of `bytes` fits, and is not before its turn; else why it does not. */
  refusal(bytes: number, why: () => Error | undefined = () => undefined): BackpressureError | undefined {
    if (this.#lobby.size === 0 && this.#fits(bytes)) return undefined
    return new BackpressureError(this.#held.size, this.#bytes, why())
  }

  /** True if one more message of `bytes` may wait for room. */
  mayWait(bytes: number): boolean {
    return this.#lobby.size < this.#maxMessages && this.#lobbyBytes + bytes <= this.#maxBytes
  }

  /** Takes an entry in, behind all others. */
  add(entry: E): void {
    entry.held = this.#held.push(entry)
    this.#bytes += entry.bytes
    entry.queued = this.#unsent.push(entry)
  }

  /** Lets an entry wait for room, behind all others. */
  wait(entry: E, refusal: BackpressureError): void {
    entry.refusal = refusal
    entry.queued = this.#lobby.push(entry)
    this.#lobbyBytes += entry.bytes
  }

  /** The entry that has waited longest to be sent. */
  take(): E | undefined {
    const entry = this.#unsent.shift()
    if (entry !== undefined) entry.queued = undefined
    return entry
  }

  /** Puts entries that were taken back in front of all others, in their order; settled ones are released. */
  putBack(entries: readonly E[]): void {
    for (let i = entries.length - 1; i >= 0; i -= 1) {
      const entry = entries[i] as E
      if (this.#keep(entry)) entry.queued = this.#unsent.unshift(entry)
    }
  }

  /** Puts an entry that was taken back behind all others; a settled one is released. */
  append(entry: E): void {
    if (this.#keep(entry)) entry.queued = this.#unsent.push(entry)
  }

  /** Forgets an entry; nothing waits for it any more. */
  release(entry: E): void {
    const { held, queued } = entry
    entry.queued = undefined
    entry.held = undefined
    if (queued !== undefined && !this.#unsent.remove(queued) && this.#lobby.remove(queued)) {
      this.#lobbyBytes -= entry.bytes
    }
    if (held !== undefined && this.#held.remove(held)) this.#bytes -= entry.bytes
    if (this.#lobby.size > 0) this.#admit()
    if (this.#held.size === 0) {
      this.#whenEmpty?.resolve()
      this.#whenEmpty = undefined
    }
  }

  /** Everything that is not finished, oldest first, those that wait for room last. */
  all(): readonly E[] {
    return [...this.#held.values(), ...this.#lobby.values()]
  }

  /** Resolves when nothing is held, and nothing waits for room. */
  async empty(): Promise<void> {
    if (this.#held.size === 0) return
    this.#whenEmpty ??= new Deferred()
    await this.#whenEmpty.promise
  }

  #fits(bytes: number): boolean {
    return this.#held.size < this.#maxMessages && this.#bytes + bytes <= this.#maxBytes
  }

  #admit(): void {
    let first = this.#lobby.first
    const before = this.#lobby.size
    for (; first !== undefined && this.#fits(first.bytes); first = this.#lobby.first) {
      this.#lobby.shift()
      this.#lobbyBytes -= first.bytes
      first.refusal = undefined
      this.add(first)
    }
    if (this.#lobby.size < before) this.#onAdmitted()
  }

  #keep(entry: E): boolean {
    if (entry.isSettled) this.release(entry)
    return !entry.isSettled
  }
}
