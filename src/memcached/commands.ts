import { readValue, SingleCall } from './calls.js'
import type { CacheNode } from './node.js'
import type { Router } from './router.js'
import type { Operation, OperationKind, Payload, Reply, Terms } from './transport.js'
import { decodeValue, isPlaceholder } from './value.js'

/**
 * What `gets` returns beside a value: `cas` stores a new one only if nobody changed the value since.
 *
 * It belongs to the node that answered, and to its time without a break: after a failover it matches nothing, because
 * each node counts its own stores.
 */
export interface CasToken {
  /** `host:port` of the node. */
  readonly host: string
  /** @internal */
  readonly absences: number
  /** @internal */
  readonly cas: number
}

/** A value and the token to replace it with. */
export interface ValueWithToken<T> {
  readonly value: T
  readonly token: CasToken
}

/** A call of the rarer kinds. @internal */
abstract class Command<T> extends SingleCall<T> {
  kind: OperationKind

  constructor(router: Router, kind: OperationKind, item: KeyOnWire, payload?: Payload, terms?: Terms) {
    super(router, item.key, item.hash, payload, terms)
    this.kind = kind
  }

  /** The token of an answer with this CAS id. */
  protected token(cas: number): CasToken {
    return Object.freeze({ host: this.node?.name ?? '', absences: this.node?.absences ?? 0, cas })
  }
}

/** @internal */
export interface KeyOnWire {
  readonly key: string
  readonly hash: number
}

/** @internal */
export class GetsCall extends Command<ValueWithToken<unknown> | undefined> {
  constructor(router: Router, item: KeyOnWire) {
    super(router, 'gets', item)
  }

  protected read(reply: Reply): ValueWithToken<unknown> | undefined {
    const { cas } = reply
    const value = readValue(this, this.router, reply)
    return value === undefined ? undefined : { value, token: this.token(cas) }
  }
}

/** Reads and gives a new time to live. @internal */
export class GetAndTouchCall extends Command<unknown> {
  constructor(router: Router, item: KeyOnWire, expiry: number) {
    super(router, 'getAndTouch', item, undefined, { expiry })
  }

  protected read(reply: Reply): unknown {
    return readValue(this, this.router, reply)
  }
}

/** @internal */
export class TouchCall extends Command<boolean> {
  constructor(router: Router, item: KeyOnWire, expiry: number) {
    super(router, 'touch', item, undefined, { expiry })
  }

  protected read(reply: Reply): boolean {
    if (reply.isWon) this.router.giveBack(this)
    return reply.status === 'done' && this.router.isFresh(this, reply.cas)
  }
}

const PEEK = { kind: 'peek', payload: undefined, terms: undefined } as const

/**
 * A call that depends on what is stored. Where that may be an old value (a node with a watermark, an heir), it is looked
 * at first and deleted when it is: an `add` must not be blocked by it, an `increment` must not count on from it.
 * @internal
 */
export abstract class ConditionalCall<T> extends Command<T> {
  readonly #goal: Pick<Operation, 'kind' | 'payload' | 'terms'>
  /** Where nothing old is stored: which version of the ring it was told by. */
  #checkedAt = -1

  constructor(router: Router, kind: OperationKind, item: KeyOnWire, payload?: Payload, terms?: Terms) {
    super(router, kind, item, payload, terms)
    this.#goal = { kind, payload, terms }
  }

  override prepare(mustCheck: boolean): boolean {
    const isChecked = !mustCheck || this.#checkedAt === this.ringVersion
    this.#ask(isChecked ? this.#goal : PEEK)
    this.wantsCas = mustCheck
    return true
  }

  override done(reply: Reply): void {
    if (this.kind === this.#goal.kind || reply.error !== undefined) {
      super.done(reply)
      return
    }
    const isOld = this.kind === 'peek' && reply.status !== 'miss' && !this.router.isFresh(this, reply.cas)
    if (isOld) {
      this.router.counters.staleRefusedCount += 1
      this.#ask({ kind: 'delete', payload: undefined, terms: { cas: reply.cas } })
    } else {
      if (reply.isWon) this.router.giveBack(this)
      this.#checkedAt = this.ringVersion
      if (!this.prepare(true)) return
    }
    this.router.again(this)
  }

  #ask({ kind, payload, terms }: Pick<Operation, 'kind' | 'payload' | 'terms'>): void {
    this.kind = kind
    this.payload = payload
    this.terms = terms
  }
}

/** Stores under a condition; true when it was met. @internal */
export class StoreCall extends ConditionalCall<boolean> {
  protected read(reply: Reply): boolean {
    return reply.status === 'done'
  }
}

/** Stores if nothing changed since the token was given. @internal */
export class CasCall extends ConditionalCall<boolean> {
  readonly #token: CasToken

  constructor(router: Router, item: KeyOnWire, payload: Payload, token: CasToken) {
    super(router, 'set', item, payload, { cas: token.cas })
    this.#token = token
  }

  override prepare(mustCheck: boolean): boolean {
    if (belongsTo(this.#token, this.node)) return super.prepare(mustCheck)
    this.settle(false)
    return false
  }

  protected read(reply: Reply): boolean {
    return reply.status === 'done'
  }
}

/** True when the node that is asked now is the one that gave the token, without a break. */
function belongsTo({ host, absences }: CasToken, node: CacheNode | undefined): boolean {
  return node?.name === host && node.absences === absences
}

/** @internal */
export class CountCall extends ConditionalCall<bigint | undefined> {
  constructor(router: Router, kind: 'increment' | 'decrement', item: KeyOnWire, delta: bigint) {
    super(router, kind, item, undefined, { delta })
  }

  protected read({ status, bytes, start, end }: Reply): bigint | undefined {
    return status === 'value' ? BigInt(bytes.toString('latin1', start, end)) : undefined
  }
}

/** What is known of a key that may have to be loaded. @internal */
export interface Lease {
  /** `undefined` when there is none. */
  readonly value: unknown
  /** Given to the one caller who loads. */
  readonly token: CasToken | undefined
  /** Another caller loads. */
  readonly isLeased: boolean
  /** Tells one placeholder from the next. */
  readonly cas: number
}

/** A get that makes one of all callers the one who loads. @internal */
export class LeaseCall extends ConditionalCall<Lease> {
  constructor(router: Router, item: KeyOnWire, terms: Terms) {
    super(router, 'lease', item, undefined, terms)
  }

  protected read(reply: Reply): Lease {
    const { status, cas, isWon, isLeased } = reply
    const { counters } = this.router
    // A placeholder is nobody's value, so its age does not matter.
    const isEmpty = isPlaceholder(reply)
    const isThere = status === 'value' && (isEmpty || this.router.isFresh(this, cas))
    const value = isThere && !isEmpty ? decodeValue(reply) : undefined
    if (value === undefined) counters.missCount += 1
    else counters.hitCount += 1
    return { value, token: isThere && isWon ? this.token(cas) : undefined, isLeased: isThere && isLeased, cas }
  }
}

/** Takes a lease back, so that somebody else may load: with a value it stays usable, without one it goes. @internal */
export class RevokeCall extends Command<void> {
  readonly #token: CasToken

  constructor(router: Router, item: KeyOnWire, { value, token }: { value: unknown; token: CasToken }) {
    super(router, value === undefined ? 'delete' : 'revoke', item, undefined, { cas: token.cas })
    this.#token = token
  }

  override prepare(mustCheck: boolean): boolean {
    if (belongsTo(this.#token, this.node)) return super.prepare(mustCheck)
    this.settle()
    return false
  }

  protected read(): void {
    return undefined
  }
}
