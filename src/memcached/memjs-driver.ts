import memjs, { type Response } from 'memjs'
import { Connection } from './connection.js'
import { AuthenticationError, ProtocolError, ServerBusyError, ValueTooLargeError } from './errors.js'
import type { Outbox } from './outbox.js'
import {
  NO_REPLY,
  type Codec,
  type CodecOwner,
  type Operation,
  type OperationKind,
  type Reply,
  type ReplyStatus,
  type TransportFactory,
} from './transport.js'

/** Leases are the meta protocol's: here one is a plain get, and taking it back a deletion. */
const OPCODES: Readonly<Record<OperationKind, number>> = {
  get: 0x00,
  gets: 0x00,
  getMany: 0x0c,
  copy: 0x00,
  peek: 0x00,
  lease: 0x00,
  set: 0x01,
  add: 0x02,
  replace: 0x03,
  delete: 0x04,
  revoke: 0x04,
  increment: 0x05,
  decrement: 0x06,
  flush: 0x08,
  noop: 0x0a,
  version: 0x0b,
  append: 0x0e,
  prepend: 0x0f,
  stats: 0x10,
  touch: 0x1c,
  getAndTouch: 0x1d,
  auth: 0x21,
}
/** A get of a key that is answered only if there is a value; all but the last one of `getMany`. */
const QUIET_GET = 0x0d
const RESPONSE_MAGIC = 0x81
const CAS_OFFSET = 16
/** All that a server says of itself is far below this. */
const MAX_TEXT = 1024 * 1024
const SUCCESS: ReadonlyMap<number, ReplyStatus> = new Map([
  [OPCODES.get, 'value'],
  [OPCODES.getMany, 'end'],
  [OPCODES.getAndTouch, 'value'],
  [OPCODES.increment, 'value'],
  [OPCODES.decrement, 'value'],
  [OPCODES.noop, 'noop'],
  [OPCODES.flush, 'flushed'],
  [OPCODES.version, 'text'],
  [OPCODES.stats, 'text'],
])
/** Whose absence of a key is a miss. */
const GETS: ReadonlySet<number> = new Set([OPCODES.get, OPCODES.getAndTouch, OPCODES.touch])
const STATUS = { notFound: 1, exists: 2, tooLarge: 3, notStored: 5, outOfMemory: 0x82, busy: 0x85, temporary: 0x86 }
const EMPTY = Buffer.alloc(0)
/** Its clock is the connection's idle time, which is no time limit; ours is the connection's own. */
const NO_TIMEOUT_SECONDS = 3600

/**
 * memcached's binary protocol as memjs reads and writes it, for servers that do not speak the meta protocol.
 *
 * Each `memjs.Server` serves one connection: it never clears what it has read, so a second connection would begin with
 * the rest of the first one's last answer. It opens no socket of its own: it loses requests when the server closes it,
 * and its time-outs do not fire under load.
 */
class MemjsCodec extends memjs.Server implements Codec {
  readonly #name: string
  readonly #maxBytes: number
  readonly #onReply: (reply: Reply) => void
  #sent = 0
  #answered = 0
  /** Lines of statistics that have come, without their end. */
  #stats = ''

  constructor(owner: CodecOwner) {
    super('', 0, '', '', { timeout: NO_TIMEOUT_SECONDS })
    this.#name = owner.name
    this.#maxBytes = owner.maxValueBytes + 1024
    this.#onReply = owner.onReply
    this.on('authenticated', () => this.#onAuthenticated())
  }

  greeting(username: string, password: string): string {
    return `\0${username}\0${password}`
  }

  encode(operation: Operation, out: Outbox): void {
    const { kind, key, keys, payload, terms } = operation
    if (keys !== undefined) {
      keys.forEach((each, i) => {
        const opcode = i === keys.length - 1 ? OPCODES.getMany : QUIET_GET
        const request = memjs.Utils.makeRequestBuffer(opcode, each, EMPTY, EMPTY, this.#sent)
        out.value(request, request.length)
      })
      this.#sent = (this.#sent + 1) >>> 0
      return
    }
    const value = payload === undefined ? EMPTY : Buffer.from(payload.data)
    const name = kind === 'auth' ? 'PLAIN' : key
    const request = memjs.Utils.makeRequestBuffer(OPCODES[kind], name, extrasOf(operation), value, this.#sent)
    if (terms?.cas !== undefined) request.writeBigUInt64BE(BigInt(terms.cas), CAS_OFFSET)
    this.#sent = (this.#sent + 1) >>> 0
    out.value(request, request.length)
  }

  decode(chunk: Buffer): void {
    const head = this.responseBuffer.length > 0 ? this.responseBuffer : chunk
    if (head[0] !== RESPONSE_MAGIC) throw notBinary(this.#name, head)
    this.responseHandler(chunk)
    if (this.responseBuffer.length > this.#maxBytes) {
      throw new ProtocolError(`${this.#name} announced a value of more than ${this.#maxBytes} bytes`)
    }
  }

  /** Called by memjs for each complete answer. */
  respond({ header, key, extras, val }: Response): void {
    if (header.opaque !== this.#answered) {
      throw new ProtocolError(`${this.#name} answered request ${header.opaque}, not ${this.#answered}`)
    }
    const status = statusOf(header.opcode, header.status)
    if (header.opcode === QUIET_GET || header.opcode === OPCODES.getMany) {
      if (header.status === 0) this.#onReply(partOf({ header, key, extras, val }))
      if (header.opcode === QUIET_GET) return
    }
    if (header.opcode === OPCODES.stats && status === 'text' && key.length > 0) {
      this.#stats += `${key.toString('latin1')} ${val.toString('latin1')}\n`
      if (this.#stats.length > MAX_TEXT) throw new ProtocolError(`${this.#name} has no end of statistics`)
      return
    }
    this.#answered = (this.#answered + 1) >>> 0
    const bytes = this.#bytesOf(header.opcode, status, val)
    const flags = status === 'value' && extras.length >= 4 ? extras.readUInt32BE(0) : 0
    this.#onReply({
      ...NO_REPLY,
      status,
      flags,
      cas: Number(header.cas.readBigUInt64BE(0)),
      bytes,
      end: bytes.length,
      // This protocol does not tell, but what looks so is what another client has leased.
      isLeased: status === 'value' && flags === 0 && bytes.length === 0,
      error: status === 'refused' ? refusal(this.#name, header.status, val.toString('latin1')) : undefined,
    })
  }

  /** Called by memjs when the server wants a password, or another one. */
  override error(error: Error): void {
    throw new AuthenticationError(this.#name, error)
  }

  #onAuthenticated(): void {
    this.#answered = (this.#answered + 1) >>> 0
    this.#onReply({ ...NO_REPLY, status: 'letIn', error: undefined })
  }

  /** The value as the other protocol has it: numbers in digits, statistics in lines. */
  #bytesOf(opcode: number, status: ReplyStatus, val: Buffer): Buffer {
    if (status === 'text' && opcode === OPCODES.stats) {
      const text = this.#stats
      this.#stats = ''
      return Buffer.from(text, 'latin1')
    }
    const isCount = opcode === OPCODES.increment || opcode === OPCODES.decrement
    return isCount && status === 'value' && val.length === 8 ? Buffer.from(`${val.readBigUInt64BE(0)}`) : val
  }
}

function extrasOf({ kind, payload, terms }: Operation): Buffer {
  if (kind === 'touch' || kind === 'getAndTouch') {
    const extras = Buffer.alloc(4)
    extras.writeUInt32BE(terms?.expiry ?? 0)
    return extras
  }
  if (kind === 'increment' || kind === 'decrement') {
    const extras = Buffer.alloc(20)
    extras.writeBigUInt64BE(terms?.delta ?? 1n)
    // All ones: a counter that is not there is not made.
    extras.writeUInt32BE(0xffff_ffff, 16)
    return extras
  }
  if (payload === undefined || kind === 'append' || kind === 'prepend' || kind === 'auth') return EMPTY
  const extras = Buffer.alloc(8)
  extras.writeUInt32BE(payload.flags, 0)
  extras.writeUInt32BE(payload.expiry, 4)
  return extras
}

/** The value of one of several keys. */
function partOf({ header, key, extras, val }: Response): Reply {
  return {
    ...NO_REPLY,
    status: 'part',
    flags: extras.length >= 4 ? extras.readUInt32BE(0) : 0,
    cas: Number(header.cas.readBigUInt64BE(0)),
    bytes: val,
    end: val.length,
    keyBytes: key,
    keyEnd: key.length,
    error: undefined,
  }
}

function statusOf(opcode: number, status: number): ReplyStatus {
  if (status === 0) return SUCCESS.get(opcode) ?? 'done'
  if (status === STATUS.notFound && opcode === OPCODES.getMany) return 'end'
  if (status === STATUS.notFound) return GETS.has(opcode) ? 'miss' : 'notFound'
  if (status === STATUS.exists) return 'exists'
  if (status === STATUS.notStored) return 'notStored'
  return 'refused'
}

function refusal(name: string, status: number, text: string): Error {
  if (status === STATUS.tooLarge) return new ValueTooLargeError(`${name} says ${text}`)
  if (status === STATUS.outOfMemory || status === STATUS.busy || status === STATUS.temporary) {
    return new ServerBusyError(name, text)
  }
  return new ProtocolError(`${name} refused a request with status ${status}: ${text}`)
}

function notBinary(name: string, head: Buffer): Error {
  const text = head.toString('latin1', 0, 60)
  if (text.startsWith('ERROR Too many open connections')) return new ServerBusyError(name, text.trim())
  return new ProtocolError(`${name} answered ${JSON.stringify(text)}, which is not the binary protocol of memcached`)
}

/** Connects with the binary protocol. @internal */
export const openMemjsTransport: TransportFactory = (options, events) =>
  new Connection(options, events, (owner) => new MemjsCodec(owner))
