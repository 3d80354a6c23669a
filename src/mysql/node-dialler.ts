import { Dialler } from '../core/dialler.js'
import { ConnectionLostError, toError } from '../core/errors.js'
import { onAbort } from '../core/timing.js'
import { dial, type DriverConnection } from './driver.js'
import { identityFrom, identityStatement, readValues } from './identity.js'
import type { MysqlHost, ResolvedMysqlPoolOptions } from './options.js'
import { setUpSession } from './session-setup.js'

/** The server that a host's connections have to lead to. @internal */
export interface ExpectedServer {
  readonly isGalera: boolean
  readonly serverId: string | undefined
}

/** @internal */
export interface NodeDiallerOptions {
  /** `host:port`, for messages. */
  readonly name: string
  readonly host: MysqlHost
  readonly options: ResolvedMysqlPoolOptions
  /** The server that the probe found. */
  readonly expected: () => ExpectedServer
  /** The host's name had these addresses at a dial. */
  readonly onAddresses: (addresses: readonly string[]) => void
  /** A connection leads to another server. */
  readonly onOther: () => void
}

/** Options of the caller that would change what a probe's answer looks like are put back. */
const PROBE_OPTIONS = { multipleStatements: true, rowsAsArray: false, nestTables: false, typeCast: true }

/** Opens the connections of one node, made ready for their use. @internal */
export class NodeDialler {
  readonly #options: NodeDiallerOptions
  readonly #dialler: Dialler

  constructor(options: NodeDiallerOptions) {
    this.#options = options
    const { localAddress, lookup } = options.options
    this.#dialler = new Dialler(options.host.endpoint, localAddress, lookup)
  }

  /** One for callers: leads to the expected server, and is set up as they asked. */
  session(signal: AbortSignal): Promise<DriverConnection> {
    const { name, options, expected } = this.#options
    return this.#dial({}, signal, async (connection) => {
      const { isGalera } = expected()
      const [rows] = await connection.run('query', identityStatement(isGalera))
      const serverId = this.assertServer(rows, isGalera)
      if (isGalera) connection.memberId = serverId
      await setUpSession(connection, { ...options, host: name, isGalera }, signal)
    })
  }

  /** One that asks the server for its state, whichever it is. */
  probe(signal: AbortSignal): Promise<DriverConnection> {
    return this.#dial(PROBE_OPTIONS, signal, async (connection) => {
      try {
        await connection.run('query', { sql: 'SET SESSION wsrep_sync_wait = 0' })
      } catch (error) {
        // A server without Galera does not know it.
        if (connection.lost !== undefined) throw error
      }
    })
  }

  /** Connections of one node lead to one server: to the one that the probe found fit. */
  assertServer(rows: unknown, isGalera: boolean): string {
    const found = identityFrom(readValues(rows as readonly Record<string, unknown>[]), isGalera)
    if (found === this.#options.expected().serverId) return found
    this.#options.onOther()
    throw new ConnectionLostError(this.#options.name, 'it leads to another server than before', { safeToRetry: true })
  }

  async #dial(
    extra: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
    setUp: (connection: DriverConnection) => Promise<void>,
  ): Promise<DriverConnection> {
    const { host, options, onAddresses } = this.#options
    const driverOptions = { ...options.driverOptions, ...extra }
    const connection = await dial({ endpoint: host.endpoint, dialler: this.#dialler, driverOptions }, signal)
    onAddresses(connection.dialled.addresses)
    const forget = onAbort(signal, () => connection.cut(toError(signal.reason)))
    try {
      await setUp(connection)
      return connection
    } catch (error) {
      connection.cut(toError(error))
      throw error
    } finally {
      forget()
    }
  }
}
