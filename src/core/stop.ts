/**
 * An end that may be announced to whoever waits: what an `AbortSignal` is, for waits that are made for each message.
 *
 * An AbortController with one listener costs ten times as much, and its `abort()` as much as a whole publish. As with
 * that, whoever comes after the end has to ask `aborted`: its listener is not called.
 * @internal
 */
export class Stop {
  #listeners: Set<() => void> | undefined
  #reason: Error | undefined

  get aborted(): boolean {
    return this.#reason !== undefined
  }

  /** Why it ended; `undefined` while it has not. */
  get reason(): Error | undefined {
    return this.#reason
  }

  /** Ends it; only the first call counts. */
  abort(reason: Error): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    const listeners = this.#listeners
    this.#listeners = undefined
    if (listeners !== undefined) for (const listener of listeners) listener()
  }

  /** Calls `listener` when it ends; returns what takes that back. */
  on(listener: () => void): () => void {
    const listeners = (this.#listeners ??= new Set())
    listeners.add(listener)
    return () => listeners.delete(listener)
  }
}
