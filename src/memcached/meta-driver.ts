import { Connection } from './connection.js'
import { ProtocolError } from './errors.js'
import { MetaParser } from './meta-parser.js'
import type { Outbox } from './outbox.js'
import type {
  Codec,
  CodecOwner,
  Operation,
  OperationKind,
  Payload,
  Reply,
  ReplyStatus,
  Terms,
  TransportFactory,
} from './transport.js'

const NO_TERMS: Terms = Object.freeze({})
const MODES: Readonly<Partial<Record<OperationKind, string>>> = {
  add: ' ME',
  replace: ' MR',
  append: ' MA',
  prepend: ' MP',
}

function storeLine({ kind, key, wantsCas, terms }: Operation, { size, flags, expiry }: Payload, tag: number): string {
  // The text protocol's only: a server that asks for a password takes it as a value.
  if (kind === 'auth') return `set auth 0 0 ${size}\r\n`
  const tail = `${MODES[kind] ?? ''}${terms?.cas === undefined ? '' : ` C${terms.cas}`}${wantsCas ? ' c' : ''}`
  return `ms ${key} ${size} T${expiry} F${flags}${tail} O${tag}\r\n`
}

/** A request without a value. */
function line(kind: OperationKind, key: string, terms: Terms, tag: number): string {
  const compare = terms.cas === undefined ? '' : ` C${terms.cas}`
  switch (kind) {
    case 'delete':
      return `md ${key}${compare} O${tag}\r\n`
    case 'gets':
      return `mg ${key} v f c O${tag}\r\n`
    case 'copy':
      return `mg ${key} v f c t O${tag}\r\n`
    case 'getAndTouch':
      return `mg ${key} v f c T${terms.expiry ?? 0} O${tag}\r\n`
    case 'touch':
      return `mg ${key} c T${terms.expiry ?? 0} O${tag}\r\n`
    case 'peek':
      return `mg ${key} c O${tag}\r\n`
    case 'lease':
      return `mg ${key} v f c N${terms.leaseSeconds ?? 1}${terms.staleSeconds ? ` R${terms.staleSeconds}` : ''} O${tag}\r\n`
    case 'revoke':
      return `md ${key} I${compare} O${tag}\r\n`
    case 'increment':
      return `ma ${key} v D${terms.delta ?? 1n} O${tag}\r\n`
    case 'decrement':
      return `ma ${key} v MD D${terms.delta ?? 1n} O${tag}\r\n`
    case 'flush':
      return 'flush_all\r\n'
    case 'version':
      return 'version\r\n'
    case 'stats':
      return 'stats\r\n'
    default:
      return 'mn\r\n'
  }
}

/** Requests are numbered up to this, then anew: more than are in flight when an answer is taken for another one's. */
const TAGS = 4096
/** Answers that must have their request's number; servers send none with refusals, and some none with misses. */
const NUMBERED: ReadonlySet<ReplyStatus> = new Set(['value', 'done', 'notFound', 'notStored', 'exists'])

/**
 * memcached's meta protocol, of memcached 1.6 and later.
 *
 * Requests carry a number that comes back with the answer: an answer that was sent twice, or not at all, would otherwise
 * give a caller the value of another key, or tell that something was stored which was not.
 */
class MetaCodec implements Codec {
  readonly #name: string
  readonly #parser: MetaParser
  readonly #onReply: (reply: Reply) => void
  #sent = 0
  #answered = 0

  constructor({ name, maxValueBytes, onReply, nextKey }: CodecOwner) {
    this.#name = name
    this.#onReply = onReply
    this.#parser = new MetaParser(name, maxValueBytes, (reply, tag) => this.#check(reply, tag), nextKey)
  }

  greeting(username: string, password: string): string {
    return `${username} ${password}`
  }

  encode(operation: Operation, out: Outbox): void {
    const { kind, key, payload } = operation
    const tag = this.#sent
    this.#sent = (tag + 1) % TAGS
    if (kind === 'get') {
      out.line(operation.wantsCas ? `mg ${key} v f c O${tag}\r\n` : `mg ${key} v f O${tag}\r\n`)
    } else if (payload !== undefined) {
      out.line(storeLine(operation, payload, tag))
      out.value(payload.data, payload.size)
      out.line('\r\n')
    } else if (operation.keys !== undefined) {
      // The meta protocol has one key per request, which takes a server and us twice the time.
      out.line(`${operation.wantsCas ? 'gets' : 'get'} ${operation.keys.join(' ')}\r\n`)
    } else {
      out.line(line(kind, key, operation.terms ?? NO_TERMS, tag))
    }
  }

  decode(chunk: Buffer): void {
    this.#parser.push(chunk)
  }

  #check(reply: Reply, tag: number): void {
    if (reply.status === 'part') {
      this.#onReply(reply)
      return
    }
    const expected = this.#answered
    this.#answered = (expected + 1) % TAGS
    if (tag !== expected && (tag >= 0 || NUMBERED.has(reply.status))) {
      throw new ProtocolError(
        `${this.#name} answered request ${tag < 0 ? 'without a number' : tag} in the place of ${expected}`,
      )
    }
    this.#onReply(reply)
  }
}

/** Connects with the meta protocol. @internal */
export const openMetaTransport: TransportFactory = (options, events) =>
  new Connection(options, events, (owner) => new MetaCodec(owner))
