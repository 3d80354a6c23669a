import { type AmqpTransport, createTransport, type RpcClient, RpcTimeoutError } from '../../src/amqp/index.js'
import { EchoServerProcess } from '../../test/harness/echo-server.js'
import { codeOf, OUR_ADDRESS, type ReportedFailover } from '../../test/harness/index.js'
import { CallError, type Caller, type Place, type Server } from './parties.js'

/** A limit that passed, with a request that may have been run. */
export const MAYBE_EXECUTED = 'HA_TIMEOUT, maybe executed'

/** The RPC client of this package, in this process. */
export class NodeCaller implements Caller {
  readonly name: string
  readonly localAddress: string = OUR_ADDRESS
  readonly #idempotent: boolean
  readonly #failovers: ReportedFailover[] = []
  #transport: AmqpTransport | undefined
  #client: RpcClient | undefined
  #limitMs = 0

  constructor(name: string, idempotent: boolean) {
    this.name = name
    this.#idempotent = idempotent
  }

  async open({ hosts, topic, exchange, isQuorum, limitMs }: Place): Promise<void> {
    const { localAddress } = this
    const options = { controlExchange: exchange, rabbitQuorumQueue: isQuorum }
    const transport = createTransport({ hosts, localAddress, env: {}, ...options })
    this.#transport = transport
    this.#limitMs = limitMs
    transport.on('failover', ({ from, to, cause, detectedMs, elapsedMs }) => {
      this.#failovers.push({ from, to, cause, detectedMs, elapsedMs, at: performance.now() })
    })
    await transport.ready()
    this.#client = transport.rpcClient({ topic })
  }

  async call(value: string): Promise<void> {
    let result: unknown
    try {
      const options = { timeoutMs: this.#limitMs, idempotent: this.#idempotent }
      result = await this.#client?.call({}, 'counted', { value }, options)
    } catch (error) {
      const isUnknown = error instanceof RpcTimeoutError && error.maybeExecuted
      throw new CallError(isUnknown ? MAYBE_EXECUTED : codeOf(error), String(error), error)
    }
    if (result !== value) throw new CallError('WRONG_ANSWER', `${String(result)} came back for ${value}`)
  }

  async close(): Promise<void> {
    await this.#transport?.close({ timeoutMs: 2000 })
  }

  inUse(): string | undefined {
    return this.#transport?.status().connections.publisher.host
  }

  failovers(): readonly ReportedFailover[] {
    return this.#failovers
  }

  report(): unknown {
    return this.#transport?.status()
  }
}

/** The RPC server of this package. */
export class NodeServer implements Server {
  #process: EchoServerProcess | undefined

  async open({ hosts, topic, exchange, isQuorum }: Place, onExecuted: (value: string) => void): Promise<void> {
    const transport = {
      ...{ hosts, env: {}, controlExchange: exchange, rabbitQuorumQueue: isQuorum },
      // It begins with the first host.
      failoverStrategy: 'round-robin' as const,
    }
    const request = { topic, server: 'node', acknowledge: 'before' as const, isStuck: false, transport }
    this.#process = new EchoServerProcess(request, (value) => onExecuted(String(value)))
    await this.#process.open()
  }

  async stop(): Promise<void> {
    await this.#process?.stop()
  }

  notes(): Readonly<Record<string, number>> {
    const { failed = 0, malformed = 0, duplicates = 0, repliesLost = 0 } = this.#process?.report ?? {}
    return { serverFailed: failed, malformed, copies: duplicates, repliesLost }
  }

  unhandled(): readonly string[] {
    return this.#process?.unhandled ?? []
  }
}
