import { now } from '../../core/timing.js'
import { RecentIds } from '../recent-ids.js'
import type { Payload } from './envelope.js'

/** Requests that are kept with their replies. */
const MAX_IDS = 10_000
/** Requests of which only the id is kept: what waited in a frozen node comes when thousands of others have been run. */
const MAX_BARE_IDS = 100_000
const MAX_AGE_MS = 600_000
const MAX_BYTES = 16 * 1024 * 1024

/** What came of a request. @internal */
export interface Outcome {
  readonly reply: Payload
  /** About how much memory the reply takes. */
  readonly bytes: number
}

interface Seen {
  readonly at: number
  readonly work: Promise<Outcome>
  bytes: number
}

/**
 * The requests that a server runs or ran lately, with their replies: a copy is not run, but answered again, because the
 * first reply may be on its way to a connection that is gone. Bounded by number, age and size; what is too old to be
 * answered is not run either.
 * @internal
 */
export class SeenRequests {
  readonly #requests = new Map<string, Seen>()
  readonly #bareIds = new RecentIds(MAX_BARE_IDS, MAX_AGE_MS)
  #bytes = 0

  get size(): number {
    return this.#requests.size
  }

  /** The outcome of the request with this id, which `work` makes unless it was seen before; `undefined` when it is forgotten. */
  once(
    id: string,
    work: () => Promise<Outcome>,
  ): { readonly outcome: Promise<Outcome> | undefined; readonly isCopy: boolean } {
    const before = this.#requests.get(id)
    if (before !== undefined && now() - before.at < MAX_AGE_MS) return { outcome: before.work, isCopy: true }
    if (this.#bareIds.has(id)) return { outcome: undefined, isCopy: true }
    const seen: Seen = { at: now(), work: work(), bytes: 0 }
    this.#requests.set(id, seen)
    void seen.work.then(({ bytes }) => {
      if (this.#requests.get(id) !== seen) return
      seen.bytes = bytes
      this.#bytes += bytes
      this.#trim()
    })
    return { outcome: seen.work, isCopy: false }
  }

  #trim(): void {
    for (const [id, { at, bytes }] of this.#requests) {
      if (this.#requests.size <= MAX_IDS && this.#bytes <= MAX_BYTES && now() - at < MAX_AGE_MS) return
      this.#bytes -= bytes
      this.#requests.delete(id)
      this.#bareIds.add(id)
    }
  }
}
