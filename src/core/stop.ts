import { Ending } from './ending.js'

/**
 * An end that may be announced to whoever waits: what an `AbortSignal` is, for waits that are made for each message.
 *
 * An AbortController with one listener costs ten times as much, and its `abort()` as much as a whole publish.
 * @internal
 */
export class Stop {
  readonly #ending = new Ending<Error>()

  get aborted(): boolean {
    return this.#ending.hasCome
  }

  /** Why it ended; `undefined` while it has not. */
  get reason(): Error | undefined {
    return this.#ending.value
  }

  /** Ends it; only the first call counts. */
  abort(reason: Error): void {
    this.#ending.come(reason)
  }

  /** Calls `listener` when it ends, at once when it has; returns what takes that back. */
  on(listener: () => void): () => void {
    return this.#ending.on(listener)
  }
}
