/**
 * The one end of a connection or a channel: it comes once, and whoever asks later is told at once.
 *
 * Synchronous, unlike a promise: what was in flight must be back in the outbox before anybody else runs.
 * @internal
 */
export class Ending<T> {
  readonly #listeners = new Set<(value: T) => void>()
  #value: { readonly is: T } | undefined

  /** Why it ended; `undefined` while it has not. */
  get value(): T | undefined {
    return this.#value?.is
  }

  get hasCome(): boolean {
    return this.#value !== undefined
  }

  /** Calls `listener` when the end comes, at once when it has. Returns how to take the listener off. */
  on(listener: (value: T) => void): () => void {
    if (this.#value !== undefined) listener(this.#value.is)
    else this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Returns false when the end had come before. */
  come(value: T): boolean {
    if (this.#value !== undefined) return false
    this.#value = { is: value }
    const listeners = [...this.#listeners]
    this.#listeners.clear()
    for (const listener of listeners) listener(value)
    return true
  }
}
