import { abortReason, onAbort, type Signal } from '../core/timing.js'

/** Hands a value that comes and goes to whoever waits for it. @internal */
export class Waiters<T> {
  #value: { readonly is: T } | undefined
  #closed: Error | undefined
  readonly #waiting = new Set<{ resolve: (value: T) => void; reject: (error: Error) => void }>()

  get hasValue(): boolean {
    return this.#value !== undefined
  }

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
    this.reject(error)
  }

  /** Who waits now need not wait any more. */
  reject(error: Error): void {
    for (const { reject } of this.#waiting) reject(error)
    this.#waiting.clear()
  }

  /** The value, as soon as there is one. */
  async next(signal: Signal): Promise<T> {
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
