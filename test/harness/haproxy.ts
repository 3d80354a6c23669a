import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { within } from './timing.js'

const START_LIMIT_MS = 5000
const COMMAND_LIMIT_MS = 5000

/** What a real HAProxy is to do. */
export interface HaproxyOptions {
  /** `host:port` of the servers: the first is active, the others its backup. */
  readonly servers: readonly string[]
  /** @default 127.0.9.100 */
  readonly host?: string
  /** @default 13306 */
  readonly port?: number
  /** Check servers by a handshake of the database instead of a TCP connection: sees a frozen one, too. */
  readonly mysqlCheck?: boolean
  /** Connections to a server that is marked down are ended. @default true */
  readonly endsSessions?: boolean
}

/** A HAProxy process before several servers: a check every second, down after two that fail. */
export class Haproxy {
  readonly host: string
  readonly port: number
  readonly #options: HaproxyOptions
  readonly #dir = mkdtempSync(join(tmpdir(), 'openstack-ha-haproxy-'))
  #process: ChildProcess | undefined

  constructor(options: HaproxyOptions) {
    this.#options = options
    this.host = options.host ?? '127.0.9.100'
    this.port = options.port ?? 13306
  }

  /** As it stands in a host list. */
  get address(): string {
    return this.host.includes(':') ? `[${this.host}]:${this.port}` : `${this.host}:${this.port}`
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  /** Resolves when it accepts connections. */
  async start(): Promise<void> {
    const file = join(this.#dir, 'haproxy.cfg')
    writeFileSync(file, this.#config())
    const child = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' })
    this.#process = child
    await once(child, 'spawn')
    const deadline = performance.now() + START_LIMIT_MS
    while (!(await this.#accepts())) {
      if (performance.now() > deadline) throw new Error('haproxy does not listen')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    // Another one may listen there, left behind by a run that was killed.
    if (child.exitCode !== null) throw new Error(`haproxy ended with ${child.exitCode}: is ${this.address} in use?`)
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child?.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await once(child, 'exit')
  }

  async close(): Promise<void> {
    await this.kill()
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** Takes server `n`, counted from 1, out of service or back; connections that it has go on. */
  async setServer(n: number, state: 'ready' | 'maint'): Promise<void> {
    const answer = await this.#command(`set server galera/node${n} state ${state}`)
    if (answer.trim() !== '') throw new Error(`haproxy: ${answer.trim()}`)
  }

  async #command(text: string): Promise<string> {
    const socket = connect(this.#adminSocket)
    socket.setEncoding('utf8')
    let answer = ''
    socket.on('data', (chunk: string) => (answer += chunk))
    socket.write(`${text}\n`)
    await within(COMMAND_LIMIT_MS, `haproxy: ${text}`, once(socket, 'end'))
    socket.destroy()
    return answer
  }

  get #adminSocket(): string {
    return join(this.#dir, 'admin.sock')
  }

  #accepts(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect({ host: this.host, port: this.port })
      socket.on('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
  }

  #config(): string {
    const { servers, mysqlCheck = false, endsSessions = true } = this.#options
    const check = `check inter 1s fall 2 rise 1${endsSessions ? ' on-marked-down shutdown-sessions' : ''}`
    const lines = servers.map((server, i) => `  server node${i + 1} ${server} ${check}${i > 0 ? ' backup' : ''}`)
    return `global
  noreuseport
  stats socket ${this.#adminSocket} level admin
defaults
  mode tcp
  timeout connect 1s
  timeout check 1s
  retries 1
  option redispatch
  timeout client 1h
  timeout server 1h
listen galera
  bind ${this.address.replace(/^\[(.*)\]/, '$1')}
${mysqlCheck ? '  option mysql-check user root\n' : ''}${lines.join('\n')}
`
  }
}
