import { Readable } from 'node:stream'
import { toError } from '../core/errors.js'
import type { Row } from './result.js'

/**
 * The rows of one result, one by one: a `Readable` in object mode, to be read with `for await` or piped.
 *
 * A slow reader holds the server back. The stream ends only when the whole result was read; when its connection is lost,
 * its limit runs out or the pool is destroyed it is destroyed with that error. The connection is free again as soon as
 * the server has sent everything, or the reader has left.
 */
export interface RowStream<T = Row> extends Readable {
  /** The rows, for `for await`. */
  [Symbol.asyncIterator](): NodeJS.AsyncIterator<T>
}

/** What a result is read into. @internal */
export interface RowSink {
  /** Takes a row. False asks to hold the next ones back until `onDemand` is called. */
  readonly take: (row: unknown) => boolean
  /** True once a row was taken: what follows cannot be asked for again. */
  readonly hasTaken: boolean
  /** Called when more rows are wanted; set by whoever sends them. */
  onDemand: () => void
  /** True when a reader may hold the rows back for as long as it likes. */
  readonly mayWait: boolean
  /** Told of the columns, before the first row. */
  readonly onFields?: (fields: unknown) => void
  /** Aborted when nobody reads any more. */
  readonly left: AbortSignal
  /** Something waits for the end of the rows: a reader that stops in the middle is not waited for without limit. */
  readonly hurry?: () => void
}

/** A stream of what `fill` puts into its sink; ends or fails with the promise of `fill`. @internal */
export function rowStream<T>(
  fill: (sink: RowSink) => Promise<unknown>,
  highWaterMark: number | undefined,
): RowStream<T> {
  const left = new AbortController()
  const sink = {
    hasTaken: false,
    mayWait: true,
    onDemand: (): void => undefined,
    left: left.signal,
    take: (row: unknown): boolean => {
      sink.hasTaken = true
      return readable.destroyed || readable.push(row)
    },
  }
  const readable = new Readable({
    objectMode: true,
    ...(highWaterMark === undefined ? {} : { highWaterMark }),
    read: () => sink.onDemand(),
    destroy: (error, done) => {
      left.abort()
      done(error)
    },
  })
  // It may fail before anybody reads, and that must not end the process; whoever reads later gets the error.
  readable.on('error', () => undefined)
  fill(sink).then(
    () => readable.push(null),
    (error: unknown) => readable.destroy(toError(error)),
  )
  return readable
}
