import { connect, type Socket } from 'node:net'
import { cut } from '../core/cut.js'
import { formatEndpoint } from '../core/endpoint.js'
import { ConnectError, ConnectionLostError, TimeoutError, toError } from '../core/errors.js'
import { TimeLimit } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import { ProtocolError, ServerBusyError } from './errors.js'
import { Fifo } from './fifo.js'
import { Outbox } from './outbox.js'
import type {
  Codec,
  CodecFactory,
  Operation,
  OperationKind,
  Reply,
  ReplyStatus,
  Transport,
  TransportEvents,
  TransportFailure,
  TransportOptions,
} from './transport.js'

/** Bounds of what one connection holds back. */
const MAX_PENDING = 100_000
const MAX_UNSENT_BYTES = 64 * 1024 * 1024
/** Other clients may store more than we do; beyond this an announced size is taken for garbage. */
const MAX_READ_BYTES = 128 * 1024 * 1024
/** What a request that moved to the front gets at least, after the one before it was answered late. */
const MIN_REMAINDER_MS = 15

const EXPECTED: Readonly<Record<OperationKind, readonly ReplyStatus[]>> = {
  get: ['value', 'miss'],
  set: ['done', 'notStored', 'exists', 'notFound'],
  delete: ['done', 'notFound', 'exists'],
  noop: ['noop'],
  flush: ['flushed'],
}

/**
 * One TCP connection to one node; what its bytes mean is the codec's.
 *
 * All requests of one turn of the event loop go out in one write; answers come back in order. One time limit watches
 * the oldest request: all of a connection have the same limit, so no other can expire before it.
 * @internal
 */
export class Connection implements Transport {
  readonly #options: TransportOptions
  readonly #events: TransportEvents
  readonly #name: string
  readonly #socket: Socket
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
    this.#name = formatEndpoint(options.endpoint)
    const maxValueBytes = Math.max(MAX_READ_BYTES, options.maxValueBytes)
    this.#codec = makeCodec(this.#name, maxValueBytes, (reply) => this.#answer(reply))
    const { endpoint, localAddress, connectTimeoutMs } = options
    const dialledAt = now()
    this.#socket = connect({
      host: endpoint.host,
      port: endpoint.port,
      noDelay: true,
      ...(localAddress === undefined ? {} : { localAddress }),
    })
    this.#connectLimit = new TimeLimit(connectTimeoutMs, () => {
      const error = new TimeoutError('connect', now() - dialledAt, this.#name)
      this.#end({ kind: 'silent', error: new ConnectError(this.#name, error), troubleAt: dialledAt, wasWriting: false })
    }).unref()
    this.#listen()
  }

  get pending(): number {
    return this.#waiting.length
  }

  submit(operation: Operation): void {
    if (this.#failure !== undefined) {
      operation.fail(this.#failure)
      return
    }
    if (
      this.#waiting.length >= MAX_PENDING ||
      this.#outbox.heldBytes + this.#socket.writableLength > MAX_UNSENT_BYTES
    ) {
      operation.done(busyReply(this.#name, this.#waiting.length))
      return
    }
    operation.sentAt = Math.trunc(now())
    this.#waiting.push(operation)
    this.#codec.encode(operation, this.#outbox)
    if (!this.#isFlushing) {
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
    socket.once('connect', () => {
      this.#connectLimit.clear()
      this.#isConnected = true
      this.#write()
      this.#events.onReady()
    })
    socket.on('data', (chunk) => {
      if (this.#failure !== undefined) return
      try {
        this.#codec.decode(chunk)
      } catch (error) {
        this.#lose(toError(error))
      }
    })
    socket.on('end', () => this.#lose(new ConnectionLostError(this.#name, 'the server closed it')))
    socket.on('error', (error) =>
      this.#lose(
        this.#isConnected
          ? new ConnectionLostError(this.#name, error.message, { cause: error })
          : new ConnectError(this.#name, error),
      ),
    )
    socket.on('close', () => this.#lose(new ConnectionLostError(this.#name, 'it ended')))
  }

  #write(): void {
    this.#isFlushing = false
    if (this.#isConnected && this.#failure === undefined) this.#outbox.flush(this.#socket)
  }

  #answer(reply: Reply): void {
    if (this.#failure !== undefined) return
    const operation = this.#waiting.shift()
    if (operation === undefined) throw new ProtocolError(`${this.#name} sent an answer that nobody asked for`)
    if (reply.status !== 'refused' && !EXPECTED[operation.kind].includes(reply.status)) {
      // The request is nobody's any more: it must end with the others that this connection still owes an answer.
      const error = new ProtocolError(`${this.#name} answered '${reply.status}' to a ${operation.kind}`)
      this.#end(this.#lostBy(error, operation.kind === 'set'), operation)
      return
    }
    operation.done(reply)
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
    return this.#isConnected && this.#waiting.some((operation) => operation.kind === 'set')
  }

  #end(failure: TransportFailure, first?: Operation): void {
    if (this.#failure !== undefined) return
    this.#failure = failure
    this.#connectLimit.clear()
    this.#limit?.clear()
    this.#limit = undefined
    this.#watched = undefined
    this.#outbox.clear()
    this.#socket.removeAllListeners()
    cut(this.#socket, failure.error)
    this.#events.onDown(failure)
    first?.fail(failure)
    for (const operation of this.#waiting.drain()) operation.fail(failure)
  }
}

function busyReply(name: string, pending: number): Reply {
  const error = new ServerBusyError(name, `${pending} requests are unanswered, no more are taken`)
  return { status: 'refused', flags: 0, cas: 0, bytes: Buffer.alloc(0), start: 0, end: 0, error }
}
