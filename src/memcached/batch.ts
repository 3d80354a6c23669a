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

/**
 * The requests of one call for many keys, all sent in one turn, so that each node gets its share in one write.
 *
 * It resolves with what was found and what failed; it rejects when everything failed, with the last error.
 * @internal
 */
export class Batch<T> {
  readonly promise: Promise<ManyResult<T>>
  readonly #found = new Map<string, T>()
  readonly #failed = new Map<string, Error>()
  readonly #parts: readonly BatchCall<T>[]
  #resolve!: (found: ManyResult<T>) => void
  #reject!: (error: Error) => void
  #left: number

  constructor(router: Router, items: readonly BatchItem[], kind: BatchKind<T>) {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#parts = items.map((item) => new BatchCall(router, item, kind, this))
    this.#left = items.length
  }

  set hasOwnLimit(has: boolean) {
    for (const part of this.#parts) part.hasOwnLimit = has
  }

  /** Sends all requests; `refused` names keys that were not sent at all. */
  begin(router: Router, refused: ReadonlyMap<string, Error> = new Map()): void {
    for (const [key, error] of refused) this.#failed.set(key, error)
    for (const part of this.#parts) router.begin(part)
    if (this.#parts.length === 0) this.#settle()
  }

  /** Ends it now: what has no answer has failed with `error`. */
  expire(error: Error): void {
    for (const part of this.#parts) {
      if (part.isOver) continue
      part.isAbandoned = true
      part.isOver = true
      this.#failed.set(part.given, error)
    }
    this.#settle()
  }

  /** @internal */
  found(key: string, value: T | undefined): void {
    if (value !== undefined) this.#found.set(key, value)
    this.#ended()
  }

  /** @internal */
  failed(key: string, error: Error): void {
    this.#failed.set(key, error)
    this.#ended()
  }

  #ended(): void {
    this.#left -= 1
    if (this.#left === 0) this.#settle()
  }

  #settle(): void {
    const failed = this.#failed
    const lastError = [...failed.values()].at(-1)
    if (lastError !== undefined && failed.size >= this.#parts.length && this.#found.size === 0) {
      this.#reject(lastError)
      return
    }
    this.#resolve(manyOf(this.#found, failed))
  }
}

class BatchCall<T> extends Call {
  readonly kind: OperationKind
  readonly given: string
  isOver = false
  readonly #batch: Batch<T>
  readonly #read: BatchKind<T>['read']

  constructor(router: Router, item: BatchItem, { kind, read }: BatchKind<T>, batch: Batch<T>) {
    super(router, item.key, item.hash, item.payload)
    this.given = item.given
    this.kind = kind
    this.#read = read
    this.#batch = batch
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
    this.router.ended()
    if (this.isOver) return
    this.isOver = true
    this.#batch.found(this.given, value)
  }

  reject(error: Error): void {
    this.router.ended()
    if (this.isOver) return
    this.isOver = true
    this.#batch.failed(this.given, error)
  }
}
