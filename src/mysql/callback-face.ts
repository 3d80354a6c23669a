import { EventEmitter } from 'node:events'
import { ClosedError, ConnectionLostError, toError } from '../core/errors.js'
import type { Channel } from './channel.js'
import { Command, type Done } from './command.js'
import { PoolConnection } from './connection.js'
import type { CallbackConnection, DriverConnection, DriverResult } from './driver.js'
import { toCall, type Call } from './mysql2-call.js'
import type { RowSink } from './row-stream.js'

/** mysql2's callback of what returns nothing. */
type Told = (error: Error | null) => void
type Sql = string | Readonly<Record<string, unknown>>

/**
 * A connection with callbacks, as mysql2's `PoolConnection` has them.
 *
 * It stays the same object for as long as the connection lives, because ORMs keep what they know of a connection by the
 * object. What it is asked runs in the order it was asked, on behalf of whoever has the connection now. @internal
 */
export class CallbackFace extends EventEmitter {
  readonly #connection: DriverConnection
  #channel: Channel | undefined

  constructor(connection: DriverConnection, channel?: Channel) {
    super()
    this.#connection = connection
    this.#channel = channel
    this.setMaxListeners(0)
  }

  /** It is in somebody's hands from now on. */
  attach(channel: Channel): void {
    this.#channel = channel
  }

  /** It is in nobody's hands any more, or not in those of `channel`: what it is asked is refused. */
  detach(channel = this.#channel): void {
    if (this.#channel === channel) this.#channel = undefined
  }

  get config(): CallbackConnection['config'] {
    return this.#connection.config
  }

  get threadId(): number {
    return this.#connection.threadId
  }

  /** The same connection; mysql2 has it under this name, too. */
  get connection(): this {
    return this
  }

  get authorized(): boolean {
    return this.#connection.lost === undefined
  }

  get state(): 'authenticated' | 'disconnected' {
    return this.#connection.lost === undefined ? 'authenticated' : 'disconnected'
  }

  /** By these ORMs tell whether a connection that they keep is still good. */
  get _closing(): boolean {
    return this.#connection.lost !== undefined
  }

  get _fatalError(): Error | null {
    return this.#connection.lost ?? null
  }

  get stream(): { readonly destroyed: boolean } {
    return { destroyed: this.#connection.lost !== undefined }
  }

  query(sql: Sql, values?: unknown, done?: Done): Command {
    return this.#send('query', toCall(sql, values, done))
  }

  execute(sql: Sql, values?: unknown, done?: Done): Command {
    return this.#send('execute', toCall(sql, values, done))
  }

  beginTransaction(told?: Told): void {
    this.#tell(told, (channel) => channel.begin())
  }

  commit(told?: Told): void {
    this.#tell(told, (channel) => channel.commit())
  }

  rollback(told?: Told): void {
    this.#tell(told, (channel) => channel.rollback())
  }

  ping(told?: Told): void {
    this.#tell(told, (channel) => channel.control((connection) => connection.ping()))
  }

  reset(told?: Told): void {
    this.#tell(told, (channel) => channel.control((connection) => connection.reset(), true))
  }

  changeUser(options: object, told?: Told): void {
    this.#tell(told, (channel) => channel.control((connection) => connection.changeUser(options), true))
  }

  /** Prepares a statement; what it calls back with runs it by `execute(values, callback)`. */
  prepare(options: string | { readonly sql: string }, done?: (error: Error | null, statement?: object) => void): void {
    const sql = typeof options === 'string' ? options : options.sql
    const statement = {
      execute: (values: unknown, answer?: Done) => this.execute(sql, values, answer),
      close: () => this.unprepare(sql),
    }
    this.#tell(
      (error) => (error === null ? done?.(null, statement) : done?.(error)),
      (channel) => channel.control((connection) => connection.prepare(sql)),
    )
  }

  unprepare(sql: string): void {
    this.#connection.unprepare(sql)
  }

  /** It is connected already. */
  connect(told?: Told): void {
    this.#tell(told, () => Promise.resolve())
  }

  pause(): void {
    this.#connection.pause()
  }

  resume(): void {
    this.#connection.resume()
  }

  format(sql: string, values?: unknown): string {
    return this.#connection.format(sql, values)
  }

  escape(value: unknown): string {
    return this.#connection.escape(value)
  }

  escapeId(name: string | string[]): string {
    return this.#connection.escapeId(name)
  }

  /** The same connection with promises. */
  promise(): PoolConnection {
    return new PoolConnection(this.#channelNow(), this)
  }

  /** Gives the connection back when what it was asked is done. A second call does nothing. */
  release(): void {
    const channel = this.#channel
    if (channel === undefined) return
    this.#channel = undefined
    channel.release()
  }

  /** As with mysql2's pool: gives the connection back. */
  end(options?: object | Told, told?: Told): void {
    this.release()
    const done = typeof options === 'function' ? (options as Told) : told
    if (done !== undefined) process.nextTick(done, null)
  }

  /** Ends the connection at once; what it was asked fails. */
  destroy(): void {
    const channel = this.#channel
    this.#channel = undefined
    channel?.destroy(new ConnectionLostError(channel.host, 'it was destroyed by its user'))
  }

  [Symbol.dispose](): void {
    this.release()
  }

  #send(method: 'query' | 'execute', { statement, done }: Call): Command {
    const command = new Command(statement.driver.sql, statement.driver.values)
    const run = (): Promise<DriverResult> => this.#ask((channel) => channel.run(method, statement))
    if (done !== undefined) return command.answer(run(), done)
    if (method === 'execute') return command.emitRows((sink) => run().then((result) => pour(result, sink)))
    return command.emitRows((sink) => this.#ask((channel) => channel.fill(statement, sink)))
  }

  #tell(told: Told | undefined, task: (channel: Channel) => Promise<unknown>): void {
    this.#ask(task).then(
      () => process.nextTick(() => told?.(null)),
      (error: unknown) => process.nextTick(() => told?.(toError(error))),
    )
  }

  async #ask<R>(task: (channel: Channel) => Promise<R>): Promise<R> {
    return task(this.#channelNow())
  }

  #channelNow(): Channel {
    if (this.#channel === undefined) throw new ClosedError('released connection')
    return this.#channel
  }

  /** Tells listeners that the connection has ended; `error` when nobody has asked for that. */
  ended(error: Error | undefined): void {
    // Their code must not run within ours, and without a listener mysql2 would end the process.
    process.nextTick(() => {
      if (error !== undefined && this.listenerCount('error') > 0) this.emit('error', error)
      this.emit('end')
    })
  }
}

/** Puts a whole result into a sink. */
function pour([rows, fields]: DriverResult, sink: RowSink): DriverResult | undefined {
  if (!Array.isArray(rows)) return [rows, fields]
  sink.onFields?.(fields)
  for (const row of rows as unknown[]) sink.take(row)
  return undefined
}
