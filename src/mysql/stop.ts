import type { WaitOptions } from '../core/time-limit.js'

/**
 * Ends something early, and tells whoever listens.
 *
 * An AbortController with its listeners costs a transaction as much as one of its statements: there is one only once
 * somebody asks for the signal. @internal
 */
export class Stop implements WaitOptions {
  readonly #listeners = new Set<(reason: Error) => void>()
  #reason: Error | undefined
  #controller: AbortController | undefined

  /** Why, once it is stopped. */
  get reason(): Error | undefined {
    return this.#reason
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  /** Stops; what comes after the first call changes nothing. */
  stop(reason: Error): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#controller?.abort(reason)
    for (const listener of this.#listeners) listener(reason)
  }

  /** Calls `listener` when it is stopped; returns what takes that back. */
  onStop(listener: (reason: Error) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}
