import { BatchCall, GET_MANY, type Batch, type BatchPart } from './batch.js'
import { wireKey, type KeyRules } from './key.js'
import { md5Point } from './md5.js'
import type { CacheNode } from './node.js'
import type { Router } from './router.js'
import type { Operation, OperationKind, Reply, TransportFailure } from './transport.js'
import { decodeValue } from './value.js'

/**
 * More keys than this make another request: the server works on the first one while the next is made, and turns to its
 * other clients between them.
 */
const MAX_KEYS = 50
/** More than the connections of any node. */
const PLACES_PER_NODE = 1024

/** Asks for the values of many keys: of each node for many of its own at once. Throws `KeyError`. @internal */
export function askForMany(keys: Iterable<string>, rules: KeyRules, router: Router, batch: Batch<unknown>): void {
  const given: string[] = []
  const wired: string[] = []
  for (const each of keys) {
    wired.push(wireKey(each, rules))
    given.push(each)
  }
  const open = new Map<number, MultiGet>()
  const { only } = router
  for (let i = 0; i < wired.length; i += 1) {
    const key = wired[i] as string
    // Hashing is a good part of what a key costs.
    const hash = only === undefined ? md5Point(key) : 0
    const node = only ?? router.home(hash, key)
    if (node === undefined) {
      new BatchCall(router, { given: given[i] as string, key, hash }, GET_MANY, batch).begin()
      continue
    }
    const place = node.index * PLACES_PER_NODE + node.placeOf(hash)
    let request = open.get(place)
    if (request === undefined) {
      request = new MultiGet(router, node, batch, hash)
      open.set(place, request)
    }
    request.add(given[i] as string, key)
    if (!request.isFull) continue
    request.send()
    open.delete(place)
  }
  for (const request of open.values()) request.send()
  batch.complete()
}

/**
 * One request for the values of several keys of one node, of a call for many keys: the node sends those that it has, each
 * with its key, in the order in which they were asked for.
 *
 * Only for keys of the node's own. What it leaves open each key is then asked for by itself: those that it has not
 * answered when it fails, and an empty value, which this request does not tell from a placeholder of `getOrSet`.
 */
class MultiGet implements Operation, BatchPart {
  readonly kind: OperationKind = 'getMany'
  readonly key = ''
  readonly hash: number
  readonly wantsCas: boolean
  readonly payload = undefined
  readonly keys: string[] = []
  sentAt = 0
  readonly #given: string[] = []
  readonly #router: Router
  readonly #node: CacheNode
  readonly #batch: Batch<unknown>
  /** The first key that may still be answered. */
  #at = 0
  #isOver = false

  constructor(router: Router, node: CacheNode, batch: Batch<unknown>, hash: number) {
    this.hash = hash
    this.wantsCas = node.watermark > 0
    this.#router = router
    this.#node = node
    this.#batch = batch
  }

  get isFull(): boolean {
    return this.keys.length === MAX_KEYS
  }

  get goesAtOnce(): boolean {
    return this.isFull
  }

  get nextKey(): string | undefined {
    return this.keys[this.#at]
  }

  add(given: string, key: string): void {
    this.#given.push(given)
    this.keys.push(key)
  }

  send(): void {
    this.#batch.expect(this, this.keys.length)
    this.#router.began()
    this.#node.submit(this)
  }

  part(reply: Reply): boolean {
    const index = reply.isNextKey ? this.#at : this.#find(reply)
    if (index < 0) return false
    const missCount = index - this.#at
    this.#at = index + 1
    if (this.#isOver) return true
    this.#miss(missCount)
    this.#take(index, reply)
    return true
  }

  done({ error }: Reply): void {
    this.#router.ended()
    if (this.#isOver) return
    this.#isOver = true
    if (error === undefined) this.#miss(this.keys.length - this.#at)
    else for (const given of this.#given.slice(this.#at)) this.#batch.failed(given, error)
  }

  fail(failure: TransportFailure): void {
    const isWanted = !this.#isOver
    this.#isOver = true
    for (let index = this.#at; isWanted && index < this.keys.length; index += 1) {
      this.#router.takeOver(this.#single(index), this.#node, failure)
    }
    this.#router.ended()
  }

  abandon(): readonly string[] {
    if (this.#isOver) return []
    this.#isOver = true
    return this.#given.slice(this.#at)
  }

  /** Which key a value is for; -1 for none that may still be answered. */
  #find({ keyBytes, keyStart, keyEnd }: Reply): number {
    const { keys } = this
    for (let index = this.#at; index < keys.length; index += 1) {
      if (isText(keyBytes, keyStart, keyEnd, keys[index] as string)) return index
    }
    return -1
  }

  #take(index: number, reply: Reply): void {
    const given = this.#given[index] as string
    const { counters } = this.#router
    if (reply.start === reply.end && reply.flags === 0) {
      this.#router.begin(this.#single(index))
      return
    }
    if (this.wantsCas && !(reply.cas > this.#node.watermark)) {
      counters.staleRefusedCount += 1
      this.#miss(1)
      return
    }
    let value: unknown
    try {
      value = decodeValue(reply)
    } catch (error) {
      this.#batch.failed(given, error as Error)
      return
    }
    counters.hitCount += 1
    this.#batch.found(given, value)
  }

  #miss(count: number): void {
    if (count === 0) return
    this.#router.counters.missCount += count
    this.#batch.missed(count)
  }

  /** A request for one of the keys alone; the batch waits for that key already. */
  #single(index: number): BatchCall<unknown> {
    const key = this.keys[index] as string
    const item = { given: this.#given[index] as string, key, hash: md5Point(key) }
    const call = new BatchCall(this.#router, item, GET_MANY, this.#batch)
    this.#batch.expect(call, 0)
    return call
  }
}

function isText(bytes: Buffer, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false
  for (let i = 0; i < text.length; i += 1) if (bytes[start + i] !== text.charCodeAt(i)) return false
  return true
}
