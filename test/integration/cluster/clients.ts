import { execFile } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { type Kind, node, type NodeStatus, status } from '../../cluster/index.js'
import { sleep } from '../../cluster/wait.js'

/** A raw client: what a verb does must show on the wire, not only in a driver. */
export class RawClient {
  readonly socket: Socket
  #received = ''
  #failure: string | undefined

  constructor(kind: Kind, n: number, localAddress?: string) {
    const { host, port } = node(kind, n)
    this.socket = connect({ host, port, noDelay: true, ...(localAddress === undefined ? {} : { localAddress }) })
    this.socket.setEncoding('utf8')
    this.socket.on('data', (chunk: string) => (this.#received += chunk))
    this.socket.on('error', (error) => (this.#failure = 'code' in error ? String(error.code) : error.message))
    this.socket.on('close', () => (this.#failure ??= 'closed'))
  }

  /** The error code of the connection, or undefined while it is well. */
  get failure(): string | undefined {
    return this.#failure
  }

  /** Resolves with 'connected', the error code, or 'silence' when nothing happens for `ms`. */
  async connected(ms = 5000): Promise<string> {
    return this.#until(ms, () => (this.socket.connecting || this.#failure !== undefined ? undefined : 'connected'))
  }

  /** Resolves with what comes next, the error code, or 'silence' when nothing happens for `ms`. */
  async next(ms = 5000): Promise<string> {
    return this.#until(ms, () => {
      const received = this.#received
      this.#received = ''
      return received === '' ? undefined : received
    })
  }

  /** Sends `text` and resolves like {@link next}. */
  async ask(text: string, ms = 5000): Promise<string> {
    this.socket.write(text)
    return this.next(ms)
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  async #until(ms: number, look: () => string | undefined): Promise<string> {
    const deadline = performance.now() + ms
    while (performance.now() < deadline) {
      const seen = look() ?? this.#failure
      if (seen !== undefined) return seen
      await sleep(2)
    }
    return 'silence'
  }
}

/** Connects and waits for the connection; throws when there is none. */
export async function openRaw(kind: Kind, n: number, localAddress?: string): Promise<RawClient> {
  const client = new RawClient(kind, n, localAddress)
  const outcome = await client.connected()
  if (outcome !== 'connected') throw new Error(`${kind} ${n}: ${outcome}`)
  return client
}

/** The status of one node. */
export async function statusOf(kind: Kind, n: number): Promise<NodeStatus> {
  const found = (await status([kind]))[0]?.nodes.find((each) => each.n === n)
  if (found === undefined) throw new Error(`no ${kind} ${n}`)
  return found
}

/** Runs a program as some user; resolves with its output, whatever its exit code. */
export function output(command: string, args: readonly string[], uid = 0): Promise<string> {
  return new Promise((resolve) => {
    execFile(command, args, { uid, cwd: '/', timeout: 60_000 }, (_error, stdout, stderr) => resolve(stdout + stderr))
  })
}

const CLI = fileURLToPath(new URL('../../cluster/cli.ts', import.meta.url))

/** `npm run cluster -- …` without npm, which alone takes half a second; resolves with what was printed. */
export function clusterCommand(...args: readonly string[]): Promise<string> {
  return output(process.execPath, ['--import', import.meta.resolve('tsx'), CLI, ...args])
}
