import { EventEmitter } from 'node:events'
import { TimeoutError, toError } from '../core/errors.js'
import { onAbort } from '../core/timing.js'
import type { DriverResult } from './driver.js'
import { rowStream, type RowSink, type RowStream } from './row-stream.js'

/** How long a reader may leave rows unread while something waits for its connection, in milliseconds. */
const READER_LIMIT_MS = 5000

/** mysql2's callback of a statement. @internal */
export type Done = (error: Error | null, rows?: unknown, fields?: unknown) => void

/** Sends a statement and puts its rows into the sink; resolves to its header, or to nothing when there were rows. */
type Fill = (sink: RowSink) => Promise<DriverResult | undefined>

/**
 * A statement that was given to the callback face: what mysql2's `query` returns.
 *
 * With a callback it says `end` afterwards. Without, it has the events `fields`, `result`, `error` and `end`, or is read
 * as a stream; which of the two must be decided in the turn of the event loop in which it was sent. An error that nobody
 * listens for is dropped instead of ending the process. @internal
 */
export class Command extends EventEmitter {
  readonly sql: string
  readonly values: unknown
  /** The reader of the rows, if there is one. */
  #reader: RowSink | undefined
  readonly #left = new AbortController()
  #taken = 0
  #stream: RowStream | undefined
  #pace: NodeJS.Timeout | undefined
  #work: Promise<unknown> = Promise.resolve()
  #adopt: (reader: RowSink) => void = () => undefined

  constructor(sql: string, values: unknown) {
    super()
    this.sql = sql
    this.values = values
    // As mysql2, but without a warning on the console.
    this.setMaxListeners(0)
  }

  /** Calls `done` with what `work` comes to. */
  answer(work: Promise<DriverResult>, done: Done): this {
    work.then(
      ([rows, fields]) => this.#callBack(() => done(null, rows, fields)),
      (error: unknown) => this.#callBack(() => done(toError(error))),
    )
    return this
  }

  /** Emits what `fill` brings, or lets a stream have it. */
  emitRows(fill: Fill): this {
    const left = this.#left
    const hasReader = (): boolean => this.#reader !== undefined
    const sink = {
      hasTaken: false,
      get mayWait() {
        return hasReader()
      },
      left: left.signal,
      onDemand: (): void => undefined,
      onFields: (fields: unknown): void => void this.emit('fields', fields, 0),
      take: (row: unknown): boolean => {
        sink.hasTaken = true
        this.#taken += 1
        this.emit('result', row, 0)
        return left.signal.aborted || (this.#reader?.take(row) ?? true)
      },
      hurry: () => this.#hurry(),
    }
    this.#adopt = (reader) => {
      this.#reader = reader
      reader.onDemand = () => sink.onDemand()
      onAbort(reader.left, () => left.abort())
    }
    this.#work = fill(sink).then((header) => {
      if (header?.[0] !== undefined) this.emit('result', header[0], 0)
    })
    this.#work.then(
      () => this.#end(),
      (error: unknown) => this.#end(toError(error)),
    )
    return this
  }

  /** The rows as a stream, which fails when the connection is lost: mysql2's own does neither fail nor end. */
  stream(options: { highWaterMark?: number | undefined } = {}): RowStream {
    const stream: RowStream = rowStream((reader) => {
      this.#adopt(reader)
      return this.#work
    }, options.highWaterMark)
    this.#stream = stream
    return stream
  }

  /** From now on a reader that stops in the middle loses its stream. */
  #hurry(): void {
    this.#pace ??= this.#look(this.#read)
  }

  /** How many rows its reader has read. */
  get #read(): number {
    return this.#taken - (this.#stream?.readableLength ?? 0)
  }

  #look(readBefore: number): NodeJS.Timeout {
    const look = (): void => {
      const read = this.#read
      if (this.#stream !== undefined && this.#stream.readableLength > 0 && read === readBefore) {
        const why = 'the reader of a stream stopped in the middle while its connection was wanted'
        this.#stream.destroy(new TimeoutError('operation', READER_LIMIT_MS, why))
      } else {
        this.#pace = this.#look(read)
      }
    }
    return setTimeout(look, READER_LIMIT_MS).unref()
  }

  #end(error?: Error): void {
    clearTimeout(this.#pace)
    process.nextTick(() => {
      if (error !== undefined && this.listenerCount('error') > 0) this.emit('error', error)
      this.emit('end')
    })
  }

  /** Outside of the promise: what a callback throws is its author's and no rejection of ours. */
  #callBack(call: () => void): void {
    process.nextTick(() => {
      call()
      this.emit('end')
    })
  }
}
