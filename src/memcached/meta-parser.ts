import {
  AuthenticationError,
  ProtocolError,
  ServerBusyError,
  UnknownCommandError,
  ValueTooLargeError,
} from './errors.js'
import type { Reply, ReplyStatus } from './transport.js'

/** No line of the protocol comes near this. */
const MAX_LINE = 2048
const EMPTY = Buffer.alloc(0)
const [CR, LF, SPACE, ZERO, NINE] = [13, 10, 32, 48, 57]
const [LETTER_C, LETTER_F, LETTER_T, LETTER_W, LETTER_Z, LETTER_O] = [99, 102, 116, 87, 90, 79]
const [CAPITAL_V, CAPITAL_A, CAPITAL_L, CAPITAL_U, CAPITAL_E] = [86, 65, 76, 85, 69]
/** How the answers begin that the older text protocol gives to a request for several keys. */
const PART = 'VALUE '
/** All that a server says of itself is far below this. */
const MAX_TEXT = 1024 * 1024

/** Answers of two letters, as one number. */
const word = (letters: string): number => (letters.charCodeAt(0) << 8) | letters.charCodeAt(1)
const VALUE = word('VA')
const STATUSES: ReadonlyMap<number, ReplyStatus> = new Map([
  [word('HD'), 'done'],
  [word('EN'), 'miss'],
  [word('NF'), 'notFound'],
  [word('NS'), 'notStored'],
  [word('EX'), 'exists'],
  [word('MN'), 'noop'],
  [word('OK'), 'flushed'],
])

/** Told of each answer, with the number that came back with it; -1 when there was none. @internal */
export type OnReply = (reply: Reply, tag: number) => void

class MutableReply implements Reply {
  status: ReplyStatus = 'miss'
  flags = 0
  cas = 0
  bytes: Buffer = EMPTY
  start = 0
  end = 0
  keyBytes: Buffer = EMPTY
  keyStart = 0
  keyEnd = 0
  isNextKey = false
  ttlSeconds = 0
  isWon = false
  isLeased = false
  error: Error | undefined = undefined
}

/**
 * Cuts the byte stream of one connection into answers of the meta protocol, however the network cut it into chunks.
 *
 * `push` throws on anything that is not an answer: the connection must then be cut, and this parser with it, because
 * nothing that follows can be attributed to a request. A value that spans chunks is read into a buffer of its announced size.
 * @internal
 */
export class MetaParser {
  readonly #endpoint: string
  readonly #maxValueBytes: number
  readonly #onReply: OnReply
  readonly #nextKey: () => string | undefined
  readonly #reply = new MutableReply()
  #tag = -1
  /** Where the number that was read last ends. */
  #at = 0
  /** Beginning of a line whose end has not come yet. */
  #rest: Buffer | undefined
  /** Value that is being read, its line end included. */
  #body: Buffer | undefined
  #filled = 0
  /** Lines of statistics that have come, without their end. */
  #stats = ''

  /** `nextKey` tells the key whose value is most likely to come next. */
  constructor(
    endpoint: string,
    maxValueBytes: number,
    onReply: OnReply,
    nextKey: () => string | undefined = () => undefined,
  ) {
    this.#endpoint = endpoint
    this.#maxValueBytes = maxValueBytes
    this.#onReply = onReply
    this.#nextKey = nextKey
  }

  push(received: Buffer): void {
    let chunk = received
    let at = 0
    if (this.#body !== undefined) {
      at = this.#fill(this.#body, chunk, 0)
    } else if (this.#rest !== undefined) {
      chunk = Buffer.concat([this.#rest, received])
      this.#rest = undefined
    }
    while (at < chunk.length) {
      const keyEnd = isPart(chunk, at) ? this.#endOfKey(chunk, at + PART.length) : at
      let end = keyEnd
      while (end < chunk.length && chunk[end] !== LF) end += 1
      if (end - at > MAX_LINE) throw new ProtocolError(`${this.#endpoint} sent a line of more than ${MAX_LINE} bytes`)
      if (end === chunk.length) {
        // A copy, because the chunk belongs to a large slab that would be kept alive.
        this.#rest = Buffer.from(chunk.subarray(at))
        return
      }
      at = keyEnd > at ? this.#part(chunk, at, keyEnd, end) : this.#line(chunk, at, end)
    }
  }

  /** Handles the line from `start` to the line feed at `end`; returns where the next one begins. */
  #line(chunk: Buffer, start: number, end: number): number {
    if (end - start < 3 || chunk[end - 1] !== CR) throw this.#garbage(chunk, start, end)
    const first = ((chunk[start] as number) << 8) | (chunk[start + 1] as number)
    this.#begin()
    const isWord = chunk[start + 2] === SPACE || start + 2 === end - 1
    if (first === VALUE && isWord) return this.#value(chunk, start, end)
    const status = isWord ? STATUSES.get(first) : undefined
    if (status === undefined) return this.#sentence(chunk, start, end)
    this.#readFlags(chunk, start + 2, end - 1)
    return this.#status(status, end)
  }

  #begin(): void {
    const reply = this.#reply
    reply.flags = 0
    reply.cas = 0
    reply.ttlSeconds = 0
    reply.isWon = false
    reply.isLeased = false
    this.#tag = -1
  }

  #value(chunk: Buffer, start: number, end: number): number {
    const size = this.#number(chunk, start + 3)
    if (this.#at !== end - 1 && chunk[this.#at] !== SPACE) throw this.#garbage(chunk, start, end)
    this.#readFlags(chunk, this.#at, end - 1)
    this.#reply.status = 'value'
    return this.#read(chunk, end + 1, size)
  }

  /** Where the key from `from` ends, or the line or the chunk with it. */
  #endOfKey(chunk: Buffer, from: number): number {
    const key = this.#nextKey()
    const end = from + (key?.length ?? 0)
    // As a whole: byte by byte takes several times as long.
    const isNextKey = key !== undefined && chunk[end] === SPACE && chunk.toString('latin1', from, end) === key
    this.#reply.isNextKey = isNextKey
    return isNextKey ? end : endOfWord(chunk, from)
  }

  /** `VALUE <key> <flags> <size>[ <cas>]`, one of the values that a request for several gets. */
  #part(chunk: Buffer, start: number, keyEnd: number, end: number): number {
    if (chunk[end - 1] !== CR) throw this.#garbage(chunk, start, end)
    this.#begin()
    const reply = this.#reply
    const keyStart = start + PART.length
    reply.keyBytes = chunk
    reply.keyStart = keyStart
    reply.keyEnd = keyEnd
    reply.flags = this.#number(chunk, keyEnd + 1)
    const size = this.#number(chunk, this.#at + 1)
    if (this.#at !== end - 1) reply.cas = this.#number(chunk, this.#at + 1)
    if (this.#at !== end - 1) throw this.#garbage(chunk, start, end)
    reply.status = 'part'
    const next = this.#read(chunk, end + 1, size)
    // Its bytes would be overwritten, and the chunk's slab kept alive, before the value has come.
    if (this.#body !== undefined) {
      reply.keyBytes = Buffer.from(chunk.subarray(keyStart, keyEnd))
      reply.keyStart = 0
      reply.keyEnd = keyEnd - keyStart
    }
    return next
  }

  /** The number at `from`, whose end is then in `#at`. */
  #number(chunk: Buffer, from: number): number {
    let at = from
    let number = 0
    for (; isDigit(chunk[at]); at += 1) number = number * 10 + (chunk[at] as number) - ZERO
    if (at === from) throw this.#garbage(chunk, from, chunk.length)
    this.#at = at
    return number
  }

  /** Reads a value of `size` bytes, with its line end; returns where the chunk goes on after it. */
  #read(chunk: Buffer, from: number, size: number): number {
    if (size > this.#maxValueBytes) {
      throw new ProtocolError(
        `${this.#endpoint} announced a value of ${size} bytes, the limit is ${this.#maxValueBytes}`,
      )
    }
    const next = from + size + 2
    if (next <= chunk.length) {
      this.#deliver(chunk, from, from + size)
      return next
    }
    this.#body = Buffer.allocUnsafe(size + 2)
    this.#filled = 0
    return this.#fill(this.#body, chunk, from)
  }

  /** Adds what the chunk has of the value; returns where the chunk goes on after it. */
  #fill(body: Buffer, chunk: Buffer, from: number): number {
    const count = chunk.copy(body, this.#filled, from)
    this.#filled += count
    if (this.#filled === body.length) {
      this.#body = undefined
      this.#deliver(body, 0, body.length - 2)
    }
    return from + count
  }

  #deliver(bytes: Buffer, start: number, end: number): void {
    if (bytes[end] !== CR || bytes[end + 1] !== LF) {
      throw new ProtocolError(`${this.#endpoint} sent a value that is longer or shorter than announced`)
    }
    const reply = this.#reply
    reply.bytes = bytes
    reply.start = start
    reply.end = end
    this.#onReply(reply, this.#tag)
    reply.bytes = EMPTY
    reply.keyBytes = EMPTY
  }

  /** Reads ` f<flags>`, ` c<cas>`, ` t<ttl>`, ` O<number>`, ` W` and ` Z`, skips others. */
  #readFlags(chunk: Buffer, from: number, end: number): void {
    let at = from
    while (at < end) {
      const name = chunk[at + 1]
      at += 2
      let number = 0
      for (; at < end && chunk[at] !== SPACE; at += 1) number = number * 10 + (chunk[at] as number) - ZERO
      if (name === LETTER_F) this.#reply.flags = number
      else if (name === LETTER_O) this.#tag = number
      else if (name === LETTER_C) this.#reply.cas = number
      // `t-1`, for ever, is the one number with a sign.
      else if (name === LETTER_T) this.#reply.ttlSeconds = number < 0 ? -1 : number
      else if (name === LETTER_W) this.#reply.isWon = true
      else if (name === LETTER_Z) this.#reply.isLeased = true
    }
  }

  /** Answers in words: what a server says of itself, and refusals. */
  #sentence(chunk: Buffer, start: number, end: number): number {
    const text = chunk.toString('latin1', start, end - 1)
    if (text.startsWith('STAT ')) {
      this.#stats += `${text.slice(5)}\n`
      if (this.#stats.length > MAX_TEXT) throw this.#garbage(chunk, start, end)
      return end + 1
    }
    if (text === 'END') return this.#stats === '' ? this.#status('end', end) : this.#text(this.#stats, end)
    if (text.startsWith('VERSION ')) return this.#text(text.slice(8), end)
    // The answer to a password; everything else is stored by `ms`.
    return text === 'STORED' ? this.#status('letIn', end) : this.#failure(text, chunk, start, end)
  }

  #status(status: ReplyStatus, end: number): number {
    this.#reply.status = status
    this.#onReply(this.#reply, this.#tag)
    return end + 1
  }

  #text(text: string, end: number): number {
    this.#stats = ''
    const reply = this.#reply
    reply.status = 'text'
    reply.bytes = Buffer.from(text, 'latin1')
    reply.start = 0
    reply.end = reply.bytes.length
    this.#onReply(reply, this.#tag)
    reply.bytes = EMPTY
    return end + 1
  }

  /** Refusals of one request; `ERROR` without a request's name on it ends the connection. */
  #failure(text: string, chunk: Buffer, start: number, end: number): number {
    if (text.startsWith('ERROR Too many open connections')) throw new ServerBusyError(this.#endpoint, text)
    if (text === 'ERROR') throw new UnknownCommandError(`${this.#endpoint} does not know the meta protocol`)
    if (!text.startsWith('SERVER_ERROR ') && !text.startsWith('CLIENT_ERROR ')) throw this.#garbage(chunk, start, end)
    const reply = this.#reply
    reply.status = 'refused'
    reply.error = refusal(this.#endpoint, text)
    this.#onReply(reply, this.#tag)
    reply.error = undefined
    return end + 1
  }

  #garbage(chunk: Buffer, start: number, end: number): ProtocolError {
    const text = JSON.stringify(chunk.toString('latin1', start, Math.min(end, start + 60)))
    return new ProtocolError(`${this.#endpoint} answered ${text}, which is not the meta protocol of memcached 1.6`)
  }
}

/** True where the value of one of several keys begins; one that is cut off here is told when the rest has come. */
function isPart(chunk: Buffer, at: number): boolean {
  return (
    chunk[at] === CAPITAL_V &&
    chunk[at + 1] === CAPITAL_A &&
    chunk[at + 2] === CAPITAL_L &&
    chunk[at + 3] === CAPITAL_U &&
    chunk[at + 4] === CAPITAL_E &&
    chunk[at + 5] === SPACE
  )
}

function endOfWord(chunk: Buffer, from: number): number {
  let at = from
  while (at < chunk.length && chunk[at] !== SPACE && chunk[at] !== LF) at += 1
  return at
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE
}

function refusal(endpoint: string, text: string): Error {
  if (text === 'CLIENT_ERROR unauthenticated') return new AuthenticationError(endpoint)
  if (text.startsWith('CLIENT_ERROR')) return new ProtocolError(`${endpoint} refused a request: ${text}`)
  if (text.includes('too large')) return new ValueTooLargeError(`${endpoint} says ${text}`)
  return new ServerBusyError(endpoint, text)
}
