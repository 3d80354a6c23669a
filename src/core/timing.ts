import { setMaxListeners } from 'node:events'
import { Stop } from './stop.js'

/** What may end a wait. @internal */
export type Signal = AbortSignal | Stop

/** Milliseconds of a clock that never jumps; only differences mean anything. @internal */
export function now(): number {
  return performance.now()
}

/** The reason of an aborted signal as an Error. @internal */
export function abortReason(signal: Signal): Error {
  const reason: unknown = signal.reason
  return reason instanceof Error ? reason : new DOMException(String(reason), 'AbortError')
}

/**
 * Calls `listener` when `signal` is aborted; returns what takes that back.
 *
 * One signal may end any number of calls, of which Node would warn on the console. @internal
 */
export function onAbort(signal: Signal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => undefined
  if (signal instanceof Stop) return signal.on(listener)
  setMaxListeners(0, signal)
  signal.addEventListener('abort', listener, { once: true })
  return () => signal.removeEventListener('abort', listener)
}

/** A promise with its handles outside; its rejection is never "unhandled", the settling side owns it. @internal */
export class Deferred<T> {
  readonly promise: Promise<T>
  #resolve!: (value: T) => void
  #reject!: (error: Error) => void
  #settled = false

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.promise.catch(() => undefined)
  }

  get settled(): boolean {
    return this.#settled
  }

  resolve(value: T): void {
    this.#settled = true
    this.#resolve(value)
  }

  reject(error: Error): void {
    this.#settled = true
    this.#reject(error)
  }
}

/**
 * Waits `ms`, or rejects with the signal's reason as soon as it is aborted.
 *
 * Uses the global `setTimeout`, because fake timers reach neither `node:timers/promises` nor `AbortSignal.timeout`.
 * @internal
 */
export async function sleep(ms: number, signal?: Signal): Promise<void> {
  if (signal?.aborted === true) throw abortReason(signal)
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      forget()
      resolve()
    }, ms)
    const forget = onAbort(signal, () => {
      clearTimeout(timer)
      reject(abortReason(signal as Signal))
    })
  })
}
