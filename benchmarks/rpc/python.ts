import { type Line, Peer } from '../../test/integration/oslo/peer.js'
import { CallError, type Caller, type Place, type Server } from './parties.js'

/** More calls than callers can have under way: one that is never answered keeps its thread. */
const THREADS = 64

/** Python's oslo.messaging as it comes, but for where its connections begin. */
function start(command: string, place: Place, more: object): Promise<Peer> {
  return Peer.start(command, {
    topic: place.topic,
    control_exchange: place.exchange,
    first: place.hosts[0]?.split(':')[0] ?? '',
    rabbit: place.isQuorum ? { rabbit_quorum_queue: true } : {},
    ...more,
  })
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** The RPC client of oslo.messaging. */
export class PythonCaller implements Caller {
  readonly name: string
  readonly #waiting = new Map<string, Waiting>()
  #peer: Peer | undefined

  constructor(name: string) {
    this.name = name
  }

  async open(place: Place): Promise<void> {
    this.#peer = await start('rpc-client', place, { timeout: place.limitMs / 1000, threads: THREADS })
    this.#peer.pass((line) => this.#onAnswer(line))
    this.#peer.watch(() => {
      for (const { reject } of this.#waiting.values()) reject(new CallError('ENDED', 'the Python process has ended'))
      this.#waiting.clear()
    })
  }

  call(value: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(value, { resolve, reject })
      this.#peer?.tell({ kind: 'call', id: value, method: 'counted', args: { value } })
    })
  }

  async close(): Promise<void> {
    await this.#peer?.stop()
  }

  pids(): readonly number[] {
    return [this.#peer?.pid ?? 0]
  }

  #onAnswer({ id, result, error, text }: Line): void {
    const waiting = this.#waiting.get(String(id))
    this.#waiting.delete(String(id))
    if (typeof error === 'string') waiting?.reject(new CallError(error, String(text)))
    else if (result !== id)
      waiting?.reject(new CallError('WRONG_ANSWER', `${String(result)} came back for ${String(id)}`))
    else waiting?.resolve()
  }
}

/** The RPC server of oslo.messaging. */
export class PythonServer implements Server {
  #peer: Peer | undefined
  #isStopping = false
  #death: string | undefined

  async open(place: Place, onExecuted: (value: string) => void): Promise<void> {
    this.#peer = await start('rpc-server', place, { server: 'python' })
    this.#peer.pass(({ executed }) => onExecuted(String(executed)))
    this.#peer.watch(() => {
      if (!this.#isStopping) this.#death = 'the Python server has ended'
    })
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#peer?.stop()
  }

  notes(): Readonly<Record<string, number>> {
    return {}
  }

  unhandled(): readonly string[] {
    return this.#death === undefined ? [] : [this.#death]
  }
}
