import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { nodes } from '../../cluster/index.js'

/** One line of a Python peer. */
export type Line = Readonly<Record<string, unknown>>

const PROGRAM = fileURLToPath(new URL('python/peer.py', import.meta.url))
const WAIT_MS = 30_000

/** What a peer is started with; `rabbit` are options of its driver by their Python names. */
export interface PeerOptions {
  readonly rabbit?: Readonly<Record<string, unknown>>
  readonly [argument: string]: unknown
}

/** A Python service on Debian's oslo.messaging; see python/peer.py. */
export class Peer {
  readonly lines: Line[] = []
  readonly #child: ChildProcessWithoutNullStreams
  readonly #news = new EventEmitter()
  #errors = ''

  private constructor(command: string, { rabbit = {}, ...args }: PeerOptions) {
    const hosts = nodes('rabbit').map(({ host, port }) => `guest:guest@${host}:${String(port)}`)
    const query = new URLSearchParams(
      Object.entries(rabbit).map(([name, value]): [string, string] => [name, String(value)]),
    )
    const url = `rabbit://${hosts.join(',')}/?${query.toString()}`
    this.#child = spawn('/usr/bin/python3', [PROGRAM, command, JSON.stringify({ url, ...args })])
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line)
      this.#news.emit('news')
    })
    this.#child.stderr.on('data', (text: Buffer) => (this.#errors += text.toString()))
    this.#child.on('exit', () => this.#news.emit('news'))
  }

  /** Starts a service and waits until it works. */
  static async start(command: string, options: PeerOptions): Promise<Peer> {
    const peer = new Peer(command, options)
    await peer.next(0)
    return peer
  }

  /** The line with this number, as soon as it is there. */
  async next(index: number): Promise<Line> {
    const signal = AbortSignal.timeout(WAIT_MS)
    while (this.lines.length <= index) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`the peer ended: ${this.#errors.slice(-2000)}`)
      await once(this.#news, 'news', { signal })
    }
    return this.lines[index] as Line
  }

  /** Gives the service something to do and returns its answer. */
  async ask(question: object): Promise<Line> {
    const index = this.lines.length
    this.#child.stdin.write(`${JSON.stringify(question)}\n`)
    return this.next(index)
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    // oslo.messaging takes five seconds to end properly.
    this.#child.kill('SIGKILL')
    await exit
  }
}
