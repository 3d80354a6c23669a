import type { CacheNode } from './node.js'
import type { Router } from './router.js'
import type { Operation, OperationKind, Payload, Reply, TransportFailure } from './transport.js'
import { decodeValue } from './value.js'

/** One request of a user, on its way from node to node until one answers. @internal */
export abstract class Call implements Operation {
  abstract readonly kind: OperationKind
  readonly key: string
  readonly hash: number
  readonly payload: Payload | undefined
  wantsCas = false
  sentAt = 0
  /** The node that was asked last. */
  node: CacheNode | undefined = undefined
  /** Nodes that are out and would have been asked before it. */
  passedOver: readonly CacheNode[] = []
  /** The ring's version when it was asked. */
  ringVersion = 0
  attemptCount = 0
  silentCount = 0
  /** True when the caller gave a time limit, which then bounds the call alone. */
  hasOwnLimit = false
  /** True when the caller does not wait any more. */
  isAbandoned = false
  protected readonly router: Router

  constructor(router: Router, key: string, hash: number, payload?: Payload) {
    this.router = router
    this.key = key
    this.hash = hash
    this.payload = payload
  }

  fail(failure: TransportFailure): void {
    this.router.failed(this, failure)
  }

  abstract done(reply: Reply): void
  abstract reject(error: Error): void
}

/** The value if it is there and may be used. Throws when it cannot be decoded. */
function readValue(call: Call, router: Router, reply: Reply): unknown {
  if (reply.status === 'value' && router.isFresh(call, reply.cas)) {
    if (call.passedOver.length > 0) router.noteHeirRead(call)
    router.counters.hitCount += 1
    return decodeValue(reply)
  }
  if (reply.status === 'value') router.counters.staleRefusedCount += 1
  router.counters.missCount += 1
  return undefined
}

/** A call with a promise of its own. @internal */
export abstract class SingleCall<T> extends Call {
  readonly promise: Promise<T>
  #resolve!: (value: T) => void
  #reject!: (error: Error) => void

  constructor(router: Router, key: string, hash: number, payload?: Payload) {
    super(router, key, hash, payload)
    this.promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  done(reply: Reply): void {
    if (reply.error !== undefined) {
      this.reject(reply.error)
      return
    }
    let result: T
    try {
      result = this.read(reply)
    } catch (error) {
      this.reject(error as Error)
      return
    }
    this.router.ended()
    this.#resolve(result)
  }

  reject(error: Error): void {
    this.router.ended()
    this.#reject(error)
  }

  protected abstract read(reply: Reply): T
}

/** @internal */
export class GetCall extends SingleCall<unknown> {
  readonly kind = 'get'

  protected read(reply: Reply): unknown {
    return readValue(this, this.router, reply)
  }
}

/** @internal */
export class SetCall extends SingleCall<void> {
  readonly kind = 'set'

  protected read(): void {
    return undefined
  }
}

/** @internal */
export class DeleteCall extends SingleCall<boolean> {
  readonly kind = 'delete'

  protected read(reply: Reply): boolean {
    return reply.status === 'done'
  }
}

/** What the gets of one `getMany` share. @internal */
export class Batch {
  readonly found: Map<string, unknown> = new Map<string, unknown>()
  readonly promise: Promise<Map<string, unknown>>
  readonly #parts: readonly BatchGetCall[]
  #resolve!: (found: Map<string, unknown>) => void
  #reject!: (error: Error) => void
  #left: number

  constructor(
    router: Router,
    keys: readonly { readonly given: string; readonly key: string; readonly hash: number }[],
  ) {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#parts = keys.map(({ given, key, hash }) => new BatchGetCall(router, { given, key, hash }, this))
    this.#left = this.#parts.length
    if (this.#left === 0) this.#resolve(this.found)
  }

  set hasOwnLimit(has: boolean) {
    for (const part of this.#parts) part.hasOwnLimit = has
  }

  /** Sends all gets in this turn, so that each node gets its share in one write. */
  begin(router: Router): void {
    for (const part of this.#parts) router.begin(part)
  }

  abandon(): void {
    for (const part of this.#parts) part.isAbandoned = true
  }

  /** One of the gets has ended; an error of one is the error of all. */
  partEnded(error?: Error): void {
    this.#left -= 1
    if (error !== undefined) this.#reject(error)
    if (this.#left === 0) this.#resolve(this.found)
  }
}

/** @internal */
class BatchGetCall extends Call {
  readonly kind = 'get'
  readonly #given: string
  readonly #batch: Batch

  constructor(
    router: Router,
    { given, key, hash }: { readonly given: string; readonly key: string; readonly hash: number },
    batch: Batch,
  ) {
    super(router, key, hash)
    this.#given = given
    this.#batch = batch
  }

  done(reply: Reply): void {
    if (reply.error !== undefined) {
      this.reject(reply.error)
      return
    }
    try {
      const value = readValue(this, this.router, reply)
      if (value !== undefined) this.#batch.found.set(this.#given, value)
    } catch (error) {
      this.reject(error as Error)
      return
    }
    this.router.ended()
    this.#batch.partEnded()
  }

  reject(error: Error): void {
    this.router.ended()
    this.#batch.partEnded(error)
  }
}
