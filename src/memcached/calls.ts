import type { CacheNode } from './node.js'
import type { Router } from './router.js'
import type { Operation, OperationKind, Payload, Reply, Terms, TransportFailure } from './transport.js'
import { decodeValue, isPlaceholder } from './value.js'

/** One request of a user, on its way from node to node until one answers. @internal */
export abstract class Call implements Operation {
  abstract readonly kind: OperationKind
  readonly key: string
  readonly hash: number
  payload: Payload | undefined
  terms: Terms | undefined
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

  constructor(router: Router, key: string, hash: number, payload?: Payload, terms?: Terms) {
    this.router = router
    this.key = key
    this.hash = hash
    this.payload = payload
    this.terms = terms
  }

  /** Called before it is sent to a node; `mustCheck` when the node may hold an old value. False when it has settled. */
  prepare(mustCheck: boolean): boolean {
    this.wantsCas = mustCheck
    return true
  }

  fail(failure: TransportFailure): void {
    this.router.failed(this, failure)
  }

  abstract done(reply: Reply): void
  abstract reject(error: Error): void
}

/** The value if it is there and may be used. Throws when it cannot be decoded. @internal */
export function readValue(call: Call, router: Router, reply: Reply): unknown {
  // A token of `gets` would be worth nothing afterwards: its holder keeps the right, and stores.
  if (reply.isWon && call.kind !== 'gets') router.giveBack(call)
  if (reply.status === 'value' && !isPlaceholder(reply) && router.isFresh(call, reply.cas)) {
    if (call.passedOver.length > 0) router.noteHeirRead(call)
    router.counters.hitCount += 1
    return decodeValue(reply)
  }
  if (reply.status === 'value' && !isPlaceholder(reply)) router.counters.staleRefusedCount += 1
  router.counters.missCount += 1
  return undefined
}

/** A call with a promise of its own. @internal */
export abstract class SingleCall<T> extends Call {
  readonly promise: Promise<T>
  #resolve!: (value: T) => void
  #reject!: (error: Error) => void

  constructor(router: Router, key: string, hash: number, payload?: Payload, terms?: Terms) {
    super(router, key, hash, payload, terms)
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

  /** Ends it without an answer. */
  protected settle(result: T): void {
    this.router.ended()
    this.#resolve(result)
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
