import { EventEmitter } from 'node:events'
import { callListener } from '../core/diagnostics.js'
import { toError } from '../core/errors.js'
import type { Autocommit } from './autocommit.js'
import type { CallbackFace } from './callback-face.js'
import { Command, type Done } from './command.js'
import { escapeIdentifier, escapeValue, formatStatement, type DriverConnection } from './driver.js'
import type { Role } from './gate.js'
import { faceOf, handOut } from './hand-out.js'
import type { Lease } from './lease.js'
import { toCall } from './mysql2-call.js'
import { SetUpChannel } from './set-up-channel.js'

/** What {@link CallbackPoolFace} needs of the pool. @internal */
export interface CallbackPoolHost {
  readonly role: Role
  readonly driverOptions: Readonly<Record<string, unknown>>
  /** Throws when the pool takes no more work. */
  readonly acquire: (role: Role) => Lease | Promise<Lease>
  readonly autocommit: Autocommit
  readonly end: () => Promise<void>
  /** The pool with promises, for the same role. */
  readonly promise: () => unknown
}

/**
 * The pool with callbacks, as mysql2's `Pool`: what ORMs take.
 *
 * `connection` is told of each connection of the pool before its first use, whoever uses it; `acquire`, `enqueue` and
 * `release` are about the checkouts of this face. @internal
 */
export class CallbackPoolFace extends EventEmitter {
  readonly #host: CallbackPoolHost
  readonly #announced = new WeakSet<DriverConnection>()

  constructor(host: CallbackPoolHost) {
    super()
    this.#host = host
    this.setMaxListeners(0)
  }

  /** mysql2's options of all connections; each connection has those of its own node. */
  get config(): Readonly<Record<string, unknown>> {
    return this.#host.driverOptions
  }

  getConnection(done: (error: Error | null, connection?: CallbackFace) => void): void {
    this.#checkOut().then(
      (face) => process.nextTick(() => done(null, face)),
      (error: unknown) => process.nextTick(() => done(toError(error))),
    )
  }

  releaseConnection(connection: { readonly release: () => void }): void {
    connection.release()
  }

  query(sql: string | Readonly<Record<string, unknown>>, values?: unknown, done?: Done): Command {
    return this.#send('query', sql, values, done)
  }

  execute(sql: string | Readonly<Record<string, unknown>>, values?: unknown, done?: Done): Command {
    return this.#send('execute', sql, values, done)
  }

  /** Closes the pool, with promises as well. */
  end(done?: (error: Error | null) => void): void {
    // Outside of the promise: what a callback throws is its author's and no rejection of ours.
    this.#host.end().then(
      () => process.nextTick(() => done?.(null)),
      (error: unknown) => process.nextTick(() => done?.(toError(error))),
    )
  }

  [Symbol.dispose](): void {
    this.end()
  }

  promise(): unknown {
    return this.#host.promise()
  }

  /** Each connection prepares for itself: there is nothing to forget here. */
  unprepare(): undefined {
    return undefined
  }

  format(sql: string, values?: unknown): string {
    return formatStatement(sql, values, this.#host.driverOptions)
  }

  escape(value: unknown): string {
    return escapeValue(value, this.#host.driverOptions)
  }

  escapeId(name: string | string[]): string {
    return escapeIdentifier(name)
  }

  /** Tells listeners of a connection that was not used before: what they ask of it runs before what its user does. */
  announce(lease: Lease): void {
    if (this.listenerCount('connection') === 0 || this.#announced.has(lease.connection)) return
    this.#announced.add(lease.connection)
    const face = faceOf(lease.connection)
    const channel = new SetUpChannel(lease)
    face.attach(channel)
    this.#tell('connection', face)
    channel.release()
    face.detach(channel)
  }

  async #checkOut(): Promise<CallbackFace> {
    const lease = this.#host.acquire(this.#host.role)
    if (lease instanceof Promise) this.#tell('enqueue')
    const { face } = handOut(await lease, (released) => this.#tell('release', released))
    this.#tell('acquire', face)
    return face
  }

  #tell(event: string, ...payload: unknown[]): void {
    for (const listener of this.rawListeners(event)) {
      callListener('mysql', () => (listener as (...given: unknown[]) => unknown).apply(this, payload))
    }
  }

  #send(
    method: 'query' | 'execute',
    sql: string | Readonly<Record<string, unknown>>,
    values: unknown,
    given: Done | undefined,
  ): Command {
    const { autocommit, role } = this.#host
    const { statement, done } = toCall(sql, values, given)
    const command = new Command(statement.driver.sql, statement.driver.values)
    if (done !== undefined) return command.answer(autocommit.run(role, method, statement), done)
    return command.emitRows((sink) => autocommit.fill(role, statement, sink))
  }
}
