import type { LookupFunction } from 'node:net'
import type { TlsOptions } from '../core/tls.js'
import type { Credentials } from './options.js'
import type { Outbox } from './outbox.js'
import type { ServerAddress } from './server-address.js'

/**
 * What a node can be asked to do. `gets` is a get that wants the CAS id in any case; `peek` asks for the CAS id without
 * the value, `copy` for everything; `getMany` is several gets in one request; `lease` is a get that makes one of all callers the one who loads; `revoke` takes that back. @internal
 */
export type OperationKind =
  | 'get'
  | 'gets'
  | 'getMany'
  | 'getAndTouch'
  | 'peek'
  | 'copy'
  | 'touch'
  | 'lease'
  | 'revoke'
  | 'set'
  | 'add'
  | 'replace'
  | 'append'
  | 'prepend'
  | 'increment'
  | 'decrement'
  | 'delete'
  | 'noop'
  | 'flush'
  | 'version'
  | 'stats'
  | 'auth'

/** What the rarer requests say beside key and value. @internal */
export interface Terms {
  /** The stored item must have this CAS id. */
  readonly cas?: number
  /** As in {@link Payload}. */
  readonly expiry?: number
  /** What is added or taken away, 0 to 2^64 - 1. */
  readonly delta?: bigint
  /** How long the one who may load keeps others from it, when there is nothing to give to them. */
  readonly leaseSeconds?: number
  /** Somebody may load when the value lives no longer than this; as an expiry. */
  readonly staleSeconds?: number
}

const READS: ReadonlySet<OperationKind> = new Set([
  'get',
  'gets',
  'getMany',
  'copy',
  'getAndTouch',
  'peek',
  'touch',
  'lease',
])
const NO_STORES: ReadonlySet<OperationKind> = new Set([...READS, 'delete', 'noop', 'flush', 'version', 'stats', 'auth'])

/** True when a server that does it late brings an old value back. @internal */
export function isStore(kind: OperationKind): boolean {
  return !NO_STORES.has(kind)
}

/** A value as it goes over the wire. @internal */
export interface Payload {
  readonly data: string | Buffer
  /** Length of `data` in bytes. */
  readonly size: number
  readonly flags: number
  /** memcached's expiry: 0 is never, up to 30 days in seconds, above that an absolute Unix time. */
  readonly expiry: number
}

/**
 * How a request was answered; the protocol's own words stay in the driver.
 *
 * `value` and `miss` answer a get, any number of `part`s and then an `end` a get of several keys, `done` and `notFound` a mutation; `notStored` and `exists` a conditional one; `text`
 * is what a server says of itself, `letIn` that it took the password. `refused` carries an error of this one request; the connection is fine.
 * @internal
 */
export type ReplyStatus =
  | 'value'
  | 'miss'
  | 'part'
  | 'end'
  | 'done'
  | 'notFound'
  | 'notStored'
  | 'exists'
  | 'noop'
  | 'flushed'
  | 'text'
  | 'letIn'
  | 'refused'

/** One answer. The object is reused for the next one: read it within `done()`, keep nothing of it. @internal */
export interface Reply {
  readonly status: ReplyStatus
  readonly flags: number
  /** The CAS id when it was asked for; 0 from servers that have none. */
  readonly cas: number
  /** The value is `bytes` from `start` to `end`. */
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** The key of a part is `keyBytes` from `keyStart` to `keyEnd`. */
  readonly keyBytes: Buffer
  readonly keyStart: number
  readonly keyEnd: number
  /** True when that is the `nextKey` of the operation. */
  readonly isNextKey: boolean
  /** The answer to a copy: how long the value has to live, in seconds; -1 is for ever, 0 is not known. */
  readonly ttlSeconds: number
  /** The answer to a lease: this caller is the one who loads. */
  readonly isWon: boolean
  /** Another caller loads. */
  readonly isLeased: boolean
  /** Why, when refused. */
  readonly error: Error | undefined
}

/** An answer with nothing in it. @internal */
export const NO_REPLY: Omit<Reply, 'status' | 'error'> = Object.freeze({
  flags: 0,
  cas: 0,
  bytes: Buffer.alloc(0),
  start: 0,
  end: 0,
  keyBytes: Buffer.alloc(0),
  keyStart: 0,
  keyEnd: 0,
  isNextKey: false,
  ttlSeconds: 0,
  isWon: false,
  isLeased: false,
})

/** One request: what to ask, and who wants to know. Exactly one of `done` and `fail` is called, once. @internal */
export interface Operation {
  readonly kind: OperationKind
  /** Checked before: 1 to 250 bytes of printable ASCII; empty for what concerns the whole server. */
  readonly key: string
  /** A number that is the same for the same key; requests of one key stay in order. */
  readonly hash: number
  readonly wantsCas: boolean
  readonly payload: Payload | undefined
  readonly terms?: Terms | undefined
  /** What `getMany` asks for. */
  readonly keys?: readonly string[]
  /** The one of them whose value comes next, if there is one. */
  readonly nextKey?: string | undefined
  /** Written as it is submitted, with what came before it, and not at the end of this turn of the event loop. */
  readonly goesAtOnce?: boolean
  /** Set by the transport: when it took the request, whole milliseconds of the monotonic clock. */
  sentAt: number
  /** The server has answered in part, as only `getMany` is; false when it was not asked for that. */
  part?(reply: Reply): boolean
  /** The server answered. */
  done(reply: Reply): void
  /** The connection ended first; whether the server did it is unknown. */
  fail(failure: TransportFailure): void
}

/**
 * Why a connection ended. `lost`: refused, reset, closed or talking nonsense. `silent`: a time limit ran out.
 * `busy`: the server has no room for another connection. `ended`: we ended it. @internal
 */
export interface TransportFailure {
  readonly kind: 'lost' | 'silent' | 'busy' | 'ended'
  readonly error: Error
  /** Monotonic time of the first sign of trouble. */
  readonly troubleAt: number
  /** True when a write is unanswered: the server may still apply it, later than anything else. */
  readonly wasWriting: boolean
}

/** How one connection is made. Durations are milliseconds. @internal */
export interface TransportOptions {
  readonly server: ServerAddress
  readonly connectTimeoutMs: number
  readonly operationTimeoutMs: number
  readonly maxValueBytes: number
  readonly localAddress: string | undefined
  /** Shown to the server before anything else. */
  readonly credentials: Credentials | undefined
  readonly tls: TlsOptions | undefined
  readonly lookup: LookupFunction | undefined
}

/** What the owner of a connection is told. @internal */
export interface TransportEvents {
  /** Connected, and let in. */
  onReady(): void
  /** Ended, told once and before any pending request fails, so that these find the node out of the ring. */
  onDown(failure: TransportFailure): void
}

/**
 * One connection to one node, that a request is in order on. It dials by itself when made and takes requests at once.
 *
 * A failure ends it for good, together with all that it has read or not sent: there is no reconnecting within one.
 * @internal
 */
export interface Transport {
  /** Unanswered requests. */
  readonly pending: number
  /** The IP address it leads to; `undefined` for a unix socket, and before it is connected. */
  readonly address: string | undefined
  submit(operation: Operation): void
  /** Ends the connection by reset; every pending request fails with `error` before this returns. */
  cut(error: Error): void
}

/** Opens a connection; each driver has one. @internal */
export type TransportFactory = (options: TransportOptions, events: TransportEvents) => Transport

/** The language of one connection; what it has read is its own, and goes with it. @internal */
export interface Codec {
  /** The value of the request `auth`. */
  greeting(username: string, password: string): string
  /** Adds the request to what is to be written. */
  encode(operation: Operation, out: Outbox): void
  /** Takes what was read and reports each complete answer, in order; throws on what is none. */
  decode(chunk: Buffer): void
}

/** What a codec needs of its connection. @internal */
export interface CodecOwner {
  /** The server's, for messages. */
  readonly name: string
  /** No value of a server is longer. */
  readonly maxValueBytes: number
  readonly onReply: (reply: Reply) => void
  /** That of the oldest operation. */
  readonly nextKey: () => string | undefined
}

/** Makes the codec of one connection. @internal */
export type CodecFactory = (owner: CodecOwner) => Codec
