import { abortReason, onAbort } from '../core/timing.js'

/** Hands a value that comes and goes to whoever waits for it. @internal */
export class Waiters<T> {
  #value: { readonly is: T } | undefined
  #closed: Error | undefined
  readonly #waiting = new Set<{ resolve: (value: T) => void; reject: (error: Error) => void }>()

  /** There is a value now. */
  resolve(value: T): void {
    this.#value = { is: value }
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const { resolve } of waiting) resolve(value)
  }

  /** There is none any more. */
  clear(): void {
    this.#value = undefined
  }

  /** There will be none any more. */
  close(error: Error): void {
    this.#closed = error
    this.#value = undefined
    for (const { reject } of this.#waiting) reject(error)
    this.#waiting.clear()
  }

  /** The value, as soon as there is one. */
  async next(signal: AbortSignal): Promise<T> {
    if (this.#value !== undefined) return this.#value.is
    if (this.#closed !== undefined) throw this.#closed
    if (signal.aborted) throw abortReason(signal)
    return new Promise<T>((resolve, reject) => {
      const waiter = {
        resolve: (value: T): void => {
          forget()
          resolve(value)
        },
        reject: (error: Error): void => {
          forget()
          reject(error)
        },
      }
      this.#waiting.add(waiter)
      const forget = onAbort(signal, () => {
        this.#waiting.delete(waiter)
        reject(abortReason(signal))
      })
    })
  }
}
