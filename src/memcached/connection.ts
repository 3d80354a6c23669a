import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { cut } from '../core/cut.js'
import { ConnectError, ConnectionLostError, TimeoutError, toError } from '../core/errors.js'
import { TimeLimit } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import { ControlOperation } from './control.js'
import { AuthenticationError, ProtocolError, ServerBusyError } from './errors.js'
import { Fifo } from './fifo.js'
import type { Credentials } from './options.js'
import { Outbox } from './outbox.js'
import {
  isStore,
  NO_REPLY,
  type Codec,
  type CodecFactory,
  type Operation,
  type OperationKind,
  type Reply,
  type ReplyStatus,
  type Transport,
  type TransportEvents,
  type TransportFailure,
  type TransportOptions,
} from './transport.js'

/** Bounds of what one connection holds back. @internal */
export const MAX_PENDING = 100_000
const MAX_UNSENT_BYTES = 64 * 1024 * 1024
/** Other clients may store more than we do; beyond this an announced size is taken for garbage. */
const MAX_READ_BYTES = 128 * 1024 * 1024
/** As much as Node reads at once. Its own buffers are new for each read, and cost more than the answers in them. */
const READ_BYTES = 64 * 1024
/** What a request that moved to the front gets at least, after the one before it was answered late. */
const MIN_REMAINDER_MS = 15

const FOUND: readonly ReplyStatus[] = ['value', 'miss']
const TOUCHED: readonly ReplyStatus[] = ['done', 'miss', 'value']
const STORED: readonly ReplyStatus[] = ['done', 'notStored', 'exists', 'notFound']
const COUNTED: readonly ReplyStatus[] = ['value', 'notFound']
const DELETED: readonly ReplyStatus[] = ['done', 'notFound', 'exists']

const EXPECTED: Readonly<Record<OperationKind, readonly ReplyStatus[]>> = {
  get: FOUND,
  gets: FOUND,
  getMany: ['end'],
  copy: FOUND,
  getAndTouch: FOUND,
  lease: FOUND,
  peek: TOUCHED,
  touch: TOUCHED,
  set: STORED,
  add: STORED,
  replace: STORED,
  append: STORED,
  prepend: STORED,
  increment: COUNTED,
  decrement: COUNTED,
  delete: DELETED,
  revoke: DELETED,
  version: ['text'],
  stats: ['text'],
  auth: ['letIn'],
  noop: ['noop'],
  flush: ['flushed'],
}

/**
 * One TCP connection to one node, or one to its unix socket; what its bytes mean is the codec's.
 *
 * Requests of one turn of the event loop go out in one write, but for those that go at once; answers come back in order.
 * One time limit watches the oldest request: all of a connection have the same limit, so no other can expire before it.
 * @internal
 */
export class Connection implements Transport {
  readonly #options: TransportOptions
  readonly #events: TransportEvents
  readonly #name: string
  readonly #socket: Socket
  /** Over the socket, when there is TLS. */
  #tls: TLSSocket | undefined
  readonly #codec: Codec
  readonly #outbox = new Outbox()
  readonly #waiting = new Fifo<Operation>()
  readonly #connectLimit: TimeLimit
  #limit: TimeLimit | undefined
  /** The request that was the oldest when the limit began. */
  #watched: Operation | undefined
  #failure: TransportFailure | undefined
  #isConnected = false
  #isFlushing = false
  readonly #flush = (): void => this.#write()

  constructor(options: TransportOptions, events: TransportEvents, makeCodec: CodecFactory) {
    this.#options = options
    this.#events = events
    this.#name = options.server.name
    const maxValueBytes = Math.max(MAX_READ_BYTES, options.maxValueBytes)
    this.#codec = makeCodec({
      name: this.#name,
      maxValueBytes,
      onReply: (reply) => this.#answer(reply),
      nextKey: () => this.#waiting.peek()?.nextKey,
    })
    const dialledAt = now()
    this.#socket = dial(options, (chunk) => this.#onData(chunk))
    this.#connectLimit = new TimeLimit(options.connectTimeoutMs, () => {
      const error = new TimeoutError('connect', now() - dialledAt, this.#name)
      this.#end({ kind: 'silent', error: new ConnectError(this.#name, error), troubleAt: dialledAt, wasWriting: false })
    }).unref()
    this.#listen()
    if (options.credentials !== undefined) this.submit(this.#greeting(options.credentials))
  }

  get pending(): number {
    return this.#waiting.length
  }

  get address(): string | undefined {
    return this.#socket.remoteAddress
  }

  submit(operation: Operation): void {
    if (this.#failure !== undefined) {
      operation.fail(this.#failure)
      return
    }
    if (
      this.#waiting.length >= MAX_PENDING ||
      this.#outbox.heldBytes + (this.#tls ?? this.#socket).writableLength > MAX_UNSENT_BYTES
    ) {
      operation.done(busyReply(this.#name, this.#waiting.length))
      return
    }
    operation.sentAt = Math.trunc(now())
    this.#waiting.push(operation)
    this.#codec.encode(operation, this.#outbox)
    if (operation.goesAtOnce === true) this.#write()
    else if (!this.#isFlushing) {
      this.#isFlushing = true
      process.nextTick(this.#flush)
    }
    if (this.#limit === undefined) this.#watch(operation, this.#options.operationTimeoutMs)
  }

  cut(error: Error): void {
    this.#end({ kind: 'ended', error, troubleAt: now(), wasWriting: this.#hasUnansweredWrite() })
  }

  #listen(): void {
    const socket = this.#socket
    socket.once('connect', () => (this.#options.tls === undefined ? this.#onConnected() : this.#startTls()))
    socket.on('end', () => this.#lose(new ConnectionLostError(this.#name, 'the server closed it')))
    socket.on('error', (error) => this.#onError(error))
    socket.on('close', () => this.#lose(new ConnectionLostError(this.#name, 'it ended')))
  }

  #startTls(): void {
    const { tls, server } = this.#options
    const servername = isIP(server.host) === 0 && server.path === undefined ? { servername: server.host } : {}
    const stream = connectTls({ host: server.host, ...servername, ...tls, socket: this.#socket })
    this.#tls = stream
    stream.once('secureConnect', () => this.#onConnected())
    stream.on('data', (chunk: Buffer) => this.#onData(chunk))
    stream.on('error', (error: Error) => this.#onError(error))
  }

  #onConnected(): void {
    if (this.#failure !== undefined) return
    this.#connectLimit.clear()
    this.#isConnected = true
    this.#write()
    if (this.#options.credentials === undefined) this.#events.onReady()
  }

  #onData(chunk: Buffer): void {
    if (this.#failure !== undefined) return
    try {
      this.#codec.decode(chunk)
    } catch (error) {
      this.#lose(toError(error))
    }
  }

  #onError(error: Error): void {
    const lost = new ConnectionLostError(this.#name, error.message, { cause: error })
    this.#lose(this.#isConnected ? lost : new ConnectError(this.#name, error))
  }

  /** The first request of a connection to a server that wants a password. */
  #greeting({ username, password }: Credentials): Operation {
    const data = this.#codec.greeting(username, password)
    const payload = { data, size: Buffer.byteLength(data), flags: 0, expiry: 0 }
    return new ControlOperation(
      { kind: 'auth', payload },
      (_cas, error) => {
        if (error === undefined) this.#events.onReady()
        else this.#lose(new AuthenticationError(this.#name, error))
      },
      () => undefined,
    )
  }

  #write(): void {
    this.#isFlushing = false
    if (this.#isConnected && this.#failure === undefined) this.#outbox.flush(this.#tls ?? this.#socket)
  }

  #answer(reply: Reply): void {
    if (this.#failure !== undefined) return
    if (reply.status === 'part') {
      this.#answerPart(reply)
      return
    }
    const operation = this.#waiting.shift()
    if (operation === undefined) throw new ProtocolError(`${this.#name} sent an answer that nobody asked for`)
    if (reply.status !== 'refused' && !EXPECTED[operation.kind].includes(reply.status)) {
      // The request is nobody's any more: it must end with the others that this connection still owes an answer.
      const error = new ProtocolError(`${this.#name} answered '${reply.status}' to a ${operation.kind}`)
      this.#end(this.#lostBy(error, isStore(operation.kind)), operation)
      return
    }
    operation.done(reply)
  }

  #answerPart(reply: Reply): void {
    // A server that answers is not silent, however much it has to say.
    this.#watched = undefined
    if (this.#waiting.peek()?.part?.(reply) === true) return
    throw new ProtocolError(`${this.#name} sent the value of a key that it was not asked for`)
  }

  /** Starts the time limit of the oldest request. */
  #watch(oldest: Operation, ms: number): void {
    this.#watched = oldest
    this.#limit = new TimeLimit(ms, () => this.#expire()).unref()
  }

  #expire(): void {
    this.#limit = undefined
    const oldest = this.#waiting.peek()
    if (oldest === undefined) {
      this.#watched = undefined
      return
    }
    const limitMs = this.#options.operationTimeoutMs
    const age = now() - oldest.sentAt
    if (oldest !== this.#watched) {
      this.#watch(oldest, Math.max(limitMs - age, MIN_REMAINDER_MS))
      return
    }
    const error = new TimeoutError('operation', age, `${this.#name}, ${this.#waiting.length} unanswered`)
    this.#end({ kind: 'silent', error, troubleAt: oldest.sentAt, wasWriting: this.#hasUnansweredWrite() })
  }

  #lose(error: Error): void {
    this.#end(this.#lostBy(error))
  }

  #lostBy(error: Error, wasWriting = false): TransportFailure {
    const kind = error instanceof ServerBusyError ? 'busy' : 'lost'
    return { kind, error, troubleAt: now(), wasWriting: wasWriting || this.#hasUnansweredWrite() }
  }

  #hasUnansweredWrite(): boolean {
    return this.#isConnected && this.#waiting.some((operation) => isStore(operation.kind))
  }

  #end(failure: TransportFailure, first?: Operation): void {
    if (this.#failure !== undefined) return
    this.#failure = failure
    this.#connectLimit.clear()
    this.#limit?.clear()
    this.#limit = undefined
    this.#watched = undefined
    this.#outbox.clear()
    // TLS needs its own listeners on the socket until the end; ours do nothing any more.
    if (this.#tls === undefined) this.#socket.removeAllListeners()
    cut(this.#socket, failure.error)
    this.#tls?.destroy()
    this.#events.onDown(failure)
    first?.fail(failure)
    for (const operation of this.#waiting.drain()) operation.fail(failure)
  }
}

/** Without TLS, what is read is told to `onData`, in a buffer that is used again for the next read. */
function dial({ server, localAddress, lookup, tls }: TransportOptions, onData: (chunk: Buffer) => void): Socket {
  const buffer = tls === undefined ? Buffer.allocUnsafeSlow(READ_BYTES) : undefined
  const callback = (count: number): boolean => {
    if (buffer !== undefined) onData(buffer.subarray(0, count))
    return true
  }
  const reading = buffer === undefined ? {} : { onread: { buffer, callback } }
  if (server.path !== undefined) return connect({ path: server.path, ...reading })
  return connect({
    ...reading,
    host: server.host,
    port: server.port,
    noDelay: true,
    ...(lookup === undefined ? {} : { lookup }),
    ...(localAddress === undefined ? {} : { localAddress }),
  })
}

/** The answer to a request that there is no room for. @internal */
export function busyReply(name: string, pending: number): Reply {
  const error = new ServerBusyError(name, `${pending} requests are unanswered, no more are taken`)
  return { ...NO_REPLY, status: 'refused', error }
}
