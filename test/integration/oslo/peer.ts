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
  /** The host that each of its connections begins with. @default a random one */
  readonly first?: string
  readonly [argument: string]: unknown
}

/** A Python service on Debian's oslo.messaging; see python/peer.py. */
export class Peer {
  readonly lines: Line[] = []
  readonly #child: ChildProcessWithoutNullStreams
  readonly #news = new EventEmitter()
  #onLine: ((line: Line) => void) | undefined
  #errors = ''

  private constructor(command: string, { rabbit = {}, ...args }: PeerOptions) {
    const hosts = nodes('rabbit').map(({ host, port }) => `guest:guest@${host}:${String(port)}`)
    const query = new URLSearchParams(
      Object.entries(rabbit).map(([name, value]): [string, string] => [name, String(value)]),
    )
    const url = `rabbit://${hosts.join(',')}/?${query.toString()}`
    this.#child = spawn('/usr/bin/python3', [PROGRAM, command, JSON.stringify({ url, ...args })])
    createInterface({ input: this.#child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as Line
      if (this.#onLine !== undefined) {
        this.#onLine(line)
        return
      }
      this.lines.push(line)
      this.#news.emit('news')
    })
    this.#child.stderr.on('data', (text: Buffer) => (this.#errors += text.toString()))
    this.#child.on('exit', () => this.#news.emit('news'))
    // What is written to one that has ended.
    this.#child.stdin.on('error', () => undefined)
  }

  /** Starts a service and waits until it works. */
  static async start(command: string, options: PeerOptions): Promise<Peer> {
    const peer = new Peer(command, options)
    await peer.next(0)
    return peer
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Calls `onEnd` when its process has ended, however that came. */
  watch(onEnd: () => void): void {
    this.#child.once('exit', onEnd)
  }

  /** Hands on every line from now on, instead of keeping it. */
  pass(onLine: (line: Line) => void): void {
    this.#onLine = onLine
  }

  /** Gives the service something to do whose answer comes when it comes. */
  tell(order: object): void {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`)
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
    this.tell(question)
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
