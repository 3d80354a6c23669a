import memjs, { type Response } from 'memjs'
import { Connection } from './connection.js'
import { ProtocolError, ServerBusyError, ValueTooLargeError } from './errors.js'
import type { Outbox } from './outbox.js'
import type { Codec, Operation, OperationKind, Reply, ReplyStatus, TransportFactory } from './transport.js'

const OPCODES: Readonly<Record<OperationKind, number>> = { get: 0x00, set: 0x01, delete: 0x04, noop: 0x0a, flush: 0x08 }
const RESPONSE_MAGIC = 0x81
const SUCCESS: ReadonlyMap<number, ReplyStatus> = new Map([
  [OPCODES.get, 'value'],
  [OPCODES.set, 'done'],
  [OPCODES.delete, 'done'],
  [OPCODES.noop, 'noop'],
  [OPCODES.flush, 'flushed'],
])
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

  constructor(name: string, maxValueBytes: number, onReply: (reply: Reply) => void) {
    super('', 0, '', '', { timeout: NO_TIMEOUT_SECONDS })
    this.#name = name
    this.#maxBytes = maxValueBytes + 1024
    this.#onReply = onReply
  }

  encode({ kind, key, payload }: Operation, out: Outbox): void {
    const value = payload === undefined ? EMPTY : Buffer.from(payload.data)
    const extras = payload === undefined ? EMPTY : Buffer.alloc(8)
    if (payload !== undefined) {
      extras.writeUInt32BE(payload.flags, 0)
      extras.writeUInt32BE(payload.expiry, 4)
    }
    const request = memjs.Utils.makeRequestBuffer(OPCODES[kind], key, extras, value, this.#sent)
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
  respond({ header, extras, val }: Response): void {
    if (header.opaque !== this.#answered) {
      throw new ProtocolError(`${this.#name} answered request ${header.opaque}, not ${this.#answered}`)
    }
    this.#answered = (this.#answered + 1) >>> 0
    const status = statusOf(header.opcode, header.status)
    this.#onReply({
      status,
      flags: status === 'value' && extras.length >= 4 ? extras.readUInt32BE(0) : 0,
      cas: Number(header.cas.readBigUInt64BE(0)),
      bytes: val,
      start: 0,
      end: val.length,
      error: status === 'refused' ? refusal(this.#name, header.status, val.toString('latin1')) : undefined,
    })
  }
}

function statusOf(opcode: number, status: number): ReplyStatus {
  if (status === 0) return SUCCESS.get(opcode) ?? 'refused'
  if (status === STATUS.notFound) return opcode === OPCODES.get ? 'miss' : 'notFound'
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
  new Connection(options, events, (name, maxValueBytes, onReply) => new MemjsCodec(name, maxValueBytes, onReply))
