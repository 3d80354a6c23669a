import { Call, readValue } from './calls.js'
import type { Router } from './router.js'
import type { OperationKind, Payload, Reply } from './transport.js'

/** What a call for many keys found, under the keys as they were given. */
export type ManyResult<T> = Map<string, T> & {
  /** Keys that no answer came for, and why. Not enumerable, so that the map compares equal to a plain one. */
  readonly failed: ReadonlyMap<string, Error>
}

/** A result with these failures. @internal */
export function manyOf<T>(found: Map<string, T>, failed: ReadonlyMap<string, Error> = new Map()): ManyResult<T> {
  return Object.defineProperty(found, 'failed', { value: failed }) as ManyResult<T>
}

/** One key of a {@link Batch}. @internal */
export interface BatchItem {
  readonly given: string
  readonly key: string
  readonly hash: number
  readonly payload?: Payload
}

/** What the parts of a batch ask, and what one's answer means; `undefined` is left out of the result. @internal */
export interface BatchKind<T> {
  readonly kind: OperationKind
  readonly read: (call: Call, router: Router, reply: Reply) => T | undefined
}

/** @internal */
export const GET_MANY: BatchKind<unknown> = { kind: 'get', read: readValue }
/** @internal */
export const SET_MANY: BatchKind<true> = { kind: 'set', read: () => true }
/** @internal */
export const DELETE_MANY: BatchKind<boolean> = {
  kind: 'delete',
  read: (_call, _router, reply) => reply.status === 'done',
}

/** One request of a {@link Batch}. @internal */
export interface BatchPart {
  /** Nobody waits for it any more; the keys, as they were given, that it has no answer for. */
  abandon(): readonly string[]
}

/**
 * The requests of one call for many keys, all sent in one turn.
 *
 * It resolves with what was found and what failed; it rejects when everything failed, with the last error.
 * @internal
 */
export class Batch<T> {
  readonly promise: Promise<ManyResult<T>>
  /** True when the caller gave a time limit, which then bounds the call alone. */
  readonly hasOwnLimit: boolean
  readonly #found = new Map<string, T>()
  readonly #failed = new Map<string, Error>()
  readonly #parts: BatchPart[] = []
  #resolve!: (found: ManyResult<T>) => void
  #reject!: (error: Error) => void
  #answerCount = 0
  /** Keys without an answer, and one more until all have been asked for. */
  #left = 1

  constructor(hasOwnLimit: boolean) {
    this.hasOwnLimit = hasOwnLimit
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** Waits for the answers to so many keys. */
  expect(part: BatchPart, keyCount: number): void {
    this.#parts.push(part)
    this.#left += keyCount
  }

  /** All keys have been asked for. */
  complete(): void {
    this.#end(1)
  }

  /** A key was answered, by `undefined` with nothing. */
  found(given: string, value: T | undefined): void {
    if (value !== undefined) this.#found.set(given, value)
    this.missed(1)
  }

  /** So many keys were answered with nothing. */
  missed(count: number): void {
    this.#answerCount += count
    this.#end(count)
  }

  failed(given: string, error: Error): void {
    this.refuse(given, error)
    this.#end(1)
  }

  /** A key that is not asked for at all. */
  refuse(given: string, error: Error): void {
    this.#failed.set(given, error)
  }

  /** Ends it now: what has no answer has failed with `error`. */
  expire(error: Error): void {
    for (const part of this.#parts) for (const given of part.abandon()) this.#failed.set(given, error)
    this.#settle()
  }

  #end(count: number): void {
    this.#left -= count
    if (this.#left === 0) this.#settle()
  }

  #settle(): void {
    const lastError = [...this.#failed.values()].at(-1)
    if (lastError === undefined || this.#answerCount > 0) this.#resolve(manyOf(this.#found, this.#failed))
    else this.#reject(lastError)
  }
}

/** The request for one key of a batch. @internal */
export class BatchCall<T> extends Call implements BatchPart {
  readonly kind: OperationKind
  readonly #given: string
  readonly #batch: Batch<T>
  readonly #read: BatchKind<T>['read']
  #isOver = false

  constructor(router: Router, item: BatchItem, { kind, read }: BatchKind<T>, batch: Batch<T>) {
    super(router, item.key, item.hash, item.payload)
    this.kind = kind
    this.hasOwnLimit = batch.hasOwnLimit
    this.#given = item.given
    this.#read = read
    this.#batch = batch
  }

  /** Sends it, and has its batch wait for it. */
  begin(): void {
    this.#batch.expect(this, 1)
    this.router.begin(this)
  }

  done(reply: Reply): void {
    if (reply.error !== undefined) {
      this.reject(reply.error)
      return
    }
    let value: T | undefined
    try {
      value = this.#read(this, this.router, reply)
    } catch (error) {
      this.reject(error as Error)
      return
    }
    if (this.#end()) this.#batch.found(this.#given, value)
  }

  reject(error: Error): void {
    if (this.#end()) this.#batch.failed(this.#given, error)
  }

  abandon(): readonly string[] {
    if (this.#isOver) return []
    this.isAbandoned = true
    this.#isOver = true
    return [this.#given]
  }

  /** True when somebody waits for it. */
  #end(): boolean {
    this.router.ended()
    const isWanted = !this.#isOver
    this.#isOver = true
    return isWanted
  }
}
