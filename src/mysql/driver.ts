import { Socket } from 'node:net'
import {
  createConnection,
  escape,
  escapeId,
  format,
  type Connection,
  type ConnectionOptions,
  type PrepareStatementInfo,
  type QueryError,
  type QueryOptions,
} from 'mysql2'
import { cut } from '../core/cut.js'
import type { Dialled, Dialler } from '../core/dialler.js'
import { formatEndpoint, type Endpoint } from '../core/endpoint.js'
import { ConnectionLostError, toError } from '../core/errors.js'
import { TimeLimit } from '../core/time-limit.js'
import { abortReason, onAbort } from '../core/timing.js'

/** mysql2's own types of its pool with callbacks and of that pool's connections. */
export type { Pool as CallbackPool, PoolConnection as CallbackConnection } from 'mysql2'
/** mysql2's own types of a column of a result, and of what a statement without rows returns. */
export type { FieldPacket as Field, ResultSetHeader as ResultHeader } from 'mysql2'
/** mysql2's own type of a statement in object form. */
export type { QueryOptions } from 'mysql2'

/** A statement in mysql2's object form. @internal */
export interface DriverStatement {
  readonly sql: string
  readonly values?: unknown
}

/** How one node is dialled. @internal */
export interface DialOptions {
  readonly endpoint: Endpoint
  readonly dialler: Dialler
  /** Passed to mysql2 as they are: user, password, database, ssl, charset and the like. */
  readonly driverOptions: Readonly<Record<string, unknown>>
}

/** What one statement returns: rows or a header, and the fields. @internal */
export type DriverResult = readonly [rows: unknown, fields: unknown]

/** How long a connection that is closed politely has to say goodbye, in milliseconds. */
const QUIT_LIMIT_MS = 500

type Method = 'query' | 'execute'
type Send = (...statement: [sql: string, values: unknown, done: Callback] | [statement: object, done: Callback]) => void
type Callback = (error: QueryError | null | undefined, rows?: unknown, fields?: unknown) => void

/**
 * One mysql2 connection on a socket of our own, so that it can be cut by reset.
 *
 * mysql2's `destroy()` is a half close that leaves a running query pending for ever; `cut` rejects everything that runs
 * or waits with the error it is given. @internal
 */
export class DriverConnection {
  readonly #connection: Connection
  readonly #socket: Socket
  readonly #endpoint: Endpoint
  /** The address it leads to, and all that the host's name had then. */
  readonly dialled: Omit<Dialled, 'socket'>
  /** Of the commands that mysql2 has, in their order. */
  #pending: ((error: Error) => void)[] = []
  readonly #localPort: number | undefined
  #lost: Error | undefined
  /** True while the server is taken to know MariaDB's compound statements: in sql_mode ORACLE it does not. */
  hasCompound: boolean
  /** The member of the Galera cluster that it leads to; set by its owner, who asks. */
  memberId: string | undefined
  /** Called once when the connection ends without our doing; set by its owner. */
  onLost: ((error: Error) => void) | undefined
  /** Called once when the connection ends, with the error when that was nobody's doing; set by its callback face. */
  onEnd: ((error: Error | undefined) => void) | undefined

  constructor(connection: Connection, { socket, ...dialled }: Dialled, endpoint: Endpoint) {
    this.#connection = connection
    this.#socket = socket
    this.#endpoint = endpoint
    this.#localPort = socket.localPort
    this.dialled = dialled
    this.hasCompound = this.isMariaDb
    // mysql2 emits 'error' when an idle connection dies; without a listener that ends the process.
    connection.on('error', (error: Error) => this.#end(error))
    // mysql2 goes on, and takes one answer for another.
    connection.on('warn', (error: Error) => this.#end(error))
    connection.on('end', () => this.#end(new Error('the server closed the connection')))
    socket.on('close', () => this.#end(new Error('the socket was closed')))
    if (socket.destroyed) this.#end(new Error('the socket was closed'))
  }

  /** Why the connection cannot be used any more. */
  get lost(): Error | undefined {
    return this.#lost
  }

  /** The node's own id of this connection; other nodes use the same numbers. */
  get threadId(): number {
    return this.#connection.threadId
  }

  /** Our end's port, by which the node's process list knows the connection; remembered after its end. */
  get localPort(): number | undefined {
    return this.#localPort
  }

  /** True for MariaDB, which has statements that MySQL has not. */
  get isMariaDb(): boolean {
    return (this.#connection as unknown as { _isMariaDB?: unknown })._isMariaDB === true
  }

  /** A number that changes whenever bytes came, or were taken over by the kernel. */
  get traffic(): number {
    // One large packet is one write, and only libuv knows how much of it is gone.
    const { _handle } = this.#socket as unknown as { readonly _handle: { readonly writeQueueSize?: number } | null }
    return this.#socket.bytesRead - (_handle?.writeQueueSize ?? 0)
  }

  /** True while the reader of a stream holds the answer back. */
  get isPaused(): boolean {
    return (this.#connection as unknown as { readonly _paused?: boolean })._paused === true
  }

  run(method: Method, statement: DriverStatement): Promise<DriverResult> {
    return this.#call((done) => {
      const connection = this.#connection as unknown as Record<Method, Send>
      // mysql2 is slower with the object form.
      if (isPlain(statement)) connection[method](statement.sql, statement.values, done)
      else connection[method](statement, done)
    })
  }

  /**
   * Sends one statement as text and hands its rows over one by one. Resolves with the header of one without rows.
   *
   * mysql2's own `stream()` neither ends nor fails when the connection dies (sidorares/node-mysql2#3082).
   */
  rows(
    statement: DriverStatement,
    onRow: (row: unknown) => void,
    onFields?: (fields: unknown) => void,
  ): Promise<DriverResult> {
    return this.#call((done) => {
      let header: unknown
      let isRow = false
      const command = this.#connection.query(statement as QueryOptions)
      command.on('fields', (fields: unknown) => {
        isRow = fields !== undefined
        if (isRow) onFields?.(fields)
      })
      command.on('result', (result: unknown) => {
        if (isRow) onRow(result)
        else header = result
      })
      command.on('error', (error) => done(error))
      command.on('end', () => done(null, header))
    })
  }

  /** Stops reading from the socket. */
  pause(): void {
    this.#connection.pause()
  }

  /** Reads on. */
  resume(): void {
    this.#connection.resume()
  }

  ping(): Promise<DriverResult> {
    return this.#call((done) => this.#connection.ping(done))
  }

  /** Prepares a statement, which `run` with `execute` finds again by its text. */
  prepare(sql: string): Promise<DriverResult> {
    return this.#call((done) => this.#connection.prepare(sql, done as (error: QueryError | null, it: PrepareStatementInfo) => void)) // prettier-ignore
  }

  /** Forgets a prepared statement, here and at the server. */
  unprepare(sql: string): void {
    this.#connection.unprepare(sql)
  }

  /** Logs another user in on the same connection; the session starts anew. */
  changeUser(options: object): Promise<DriverResult> {
    return this.#call((done) => this.#connection.changeUser(options, done))
  }

  /** Starts the session anew: no transaction, no variables, no temporary tables. */
  reset(): Promise<DriverResult> {
    return this.#call((done) => this.#connection.reset(done))
  }

  /** mysql2's options of this connection, with the host and the port of this node. */
  get config(): ConnectionOptions {
    return this.#connection.config
  }

  format(sql: string, values?: unknown): string {
    return this.#connection.format(sql, values)
  }

  escape(value: unknown): string {
    return this.#connection.escape(value)
  }

  escapeId(name: string | string[]): string {
    return this.#connection.escapeId(name as string)
  }

  /** Ends the connection at once; whatever runs on it rejects with `error`. */
  cut(error: Error): void {
    const isFirst = this.#lost === undefined
    this.#lost ??= error
    cut(this.#socket, error)
    this.#rejectPending()
    if (isFirst) this.onEnd?.(undefined)
  }

  /** Says goodbye to the server, so that it does not count an aborted client, and cuts after a moment. */
  quit(): void {
    const reason = new ConnectionLostError(formatEndpoint(this.#endpoint), 'closed by the pool', { safeToRetry: true })
    if (this.#lost !== undefined) return
    this.#lost = reason
    this.onEnd?.(undefined)
    const limit = new TimeLimit(QUIT_LIMIT_MS, () => cut(this.#socket, reason)).unref()
    this.#socket.once('close', () => limit.clear())
    // The server closes the socket when it has read the goodbye; mysql2 calls back before it has even written it.
    this.#connection.end(() => undefined)
  }

  /**
   * mysql2 loses a command that is given to it while the socket closes: no error, no answer. So each call is also
   * settled from here when the connection ends.
   */
  #call(start: (done: Callback) => void): Promise<DriverResult> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== undefined) {
        reject(this.#lost)
        return
      }
      this.#pending.push(reject)
      const done: Callback = (error, rows, fields) => {
        this.#settled(reject)
        // A ping that was answered calls back with nothing at all, whatever mysql2's types say.
        if (error === null || error === undefined) resolve([rows, fields])
        else reject(this.#own(error))
      }
      try {
        start(done)
      } catch (error) {
        this.#settled(reject)
        reject(error)
      }
    })
  }

  #settled(reject: (error: Error) => void): void {
    const at = this.#pending.indexOf(reject)
    if (at !== -1) this.#pending.splice(at, 1)
  }

  #end(error: Error): void {
    if (this.#lost === undefined) {
      this.#lost = new ConnectionLostError(formatEndpoint(this.#endpoint), error.message, { cause: error })
      cut(this.#socket, this.#lost)
      this.onLost?.(this.#lost)
      this.onEnd?.(this.#lost)
    }
    this.#rejectPending()
  }

  #rejectPending(): void {
    const reason = this.#lost
    if (reason === undefined) return
    const rejects = this.#pending
    this.#pending = []
    for (const reject of rejects) reject(reason)
  }

  /** mysql2 answers calls on a dead connection with an error that hides why it died. */
  #own(error: Error): Error {
    const { fatal, sqlState } = error as { fatal?: boolean; sqlState?: unknown }
    if (fatal === true) {
      this.#end(error)
      return this.#lost ?? error
    }
    // Not the server's: mysql2 gave up within a result (a `typeCast` threw), and the next caller would get the rest of it.
    if (sqlState === undefined) this.cut(error)
    return error
  }
}

/**
 * Opens a connection, handshake included. The caller bounds it by `signal`; mysql2's own limit is off, because a stall
 * of our event loop would make it expire. @internal
 */
export async function dial(options: DialOptions, signal: AbortSignal): Promise<DriverConnection> {
  const { dialler } = options
  const dialled = await dialler.dial(signal)
  try {
    const connection = await shakeHands(dialled, options, signal)
    dialler.worked(dialled.address)
    return connection
  } catch (error) {
    dialler.failed(dialled.address)
    throw error
  }
}

function shakeHands(dialled: Dialled, options: DialOptions, signal: AbortSignal): Promise<DriverConnection> {
  const { socket } = dialled
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      cut(socket, abortReason(signal))
      reject(abortReason(signal))
      return
    }
    const { host, port } = options.endpoint
    let connection: Connection
    try {
      connection = createConnection({
        ...options.driverOptions,
        host,
        port,
        connectTimeout: 0,
        stream: () => socket,
      } as ConnectionOptions)
    } catch (error) {
      cut(socket, toError(error))
      reject(toError(error))
      return
    }
    const finish = (): void => {
      forget()
      connection.removeListener('connect', onConnect)
    }
    const fail = (error: Error): void => {
      finish()
      cut(socket, error)
      reject(error)
    }
    const onConnect = (): void => {
      finish()
      connection.removeListener('error', onError)
      resolve(new DriverConnection(connection, dialled, options.endpoint))
    }
    const onError = (error: unknown): void => fail(toError(error))
    const forget = onAbort(signal, () => fail(abortReason(signal)))
    connection.once('connect', onConnect)
    // Stays after a failure: a second error of the same dead connection must find a listener.
    connection.on('error', onError)
  })
}

/** What mysql2 finds wrong with options that are passed through to it, without connecting. @internal */
export function driverOptionsProblem(driverOptions: Readonly<Record<string, unknown>>): string | undefined {
  const socket = new Socket()
  try {
    const connection = createConnection({
      ...driverOptions,
      connectTimeout: 0,
      stream: () => socket,
    } as ConnectionOptions)
    connection.on('error', () => undefined)
    return undefined
  } catch (error) {
    return toError(error).message
  } finally {
    socket.destroy()
  }
}

/** `sql` with its placeholders filled in, as connections with these options send it. @internal */
export function formatStatement(sql: string, values: unknown, options: Readonly<Record<string, unknown>>): string {
  return format(sql, values as never, options['stringifyObjects'] === true, options['timezone'] as string)
}

/** A value as it stands in SQL, for connections with these options. @internal */
export function escapeValue(value: unknown, options: Readonly<Record<string, unknown>>): string {
  return escape(value as never, options['stringifyObjects'] === true, options['timezone'] as string)
}

/** A name, or a list of names, as it stands in SQL. @internal */
export function escapeIdentifier(name: string | string[]): string {
  return escapeId(name)
}

/** True when there is nothing but a text and values. */
function isPlain(statement: DriverStatement): boolean {
  for (const name in statement) if (name !== 'sql' && name !== 'values') return false
  return true
}
