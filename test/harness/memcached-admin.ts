import { connect, type Socket } from 'node:net'
import { ADMIN_ADDRESS, node } from '../cluster/address.js'

const LIMIT_MS = 5000
const KEYS_PER_COMMAND = 50

/** Speaks the text protocol to one node from the address that faults leave alone; one command at a time. */
export class RawMemcached {
  readonly #socket: Socket
  #received = ''
  #onData: () => void = () => undefined
  #failure: Error | undefined

  constructor(n: number) {
    const { host, port } = node('memcached', n)
    this.#socket = connect({ host, port, localAddress: ADMIN_ADDRESS, noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', (chunk: string) => {
      this.#received += chunk
      this.#onData()
    })
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('closed')))
  }

  /** Sends a command and resolves with the answer, up to and with `end`. */
  ask(command: string, end: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(new Error(`no answer after ${LIMIT_MS} ms`)), LIMIT_MS)
      this.#onData = () => {
        if (this.#failure === undefined && !this.#received.endsWith(end)) return
        clearTimeout(timer)
        this.#onData = () => undefined
        const answer = this.#received
        this.#received = ''
        if (this.#failure === undefined) resolve(answer)
        else reject(this.#failure)
      }
      this.#socket.write(command)
      this.#onData()
    })
  }

  async set(key: string, value: string): Promise<void> {
    await this.ask(`set ${key} 0 0 ${value.length}\r\n${value}\r\n`, '\r\n')
  }

  /** The values of those keys that are there. */
  async getMany(keys: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const values = new Map<string, string>()
    for (let i = 0; i < keys.length; i += KEYS_PER_COMMAND) {
      const answer = await this.ask(`get ${keys.slice(i, i + KEYS_PER_COMMAND).join(' ')}\r\n`, 'END\r\n')
      for (const [, key = '', value = ''] of answer.matchAll(/VALUE (\S+) \d+ \d+[^\r]*\r\n(.*)\r\n/g)) {
        values.set(key, value)
      }
    }
    return values
  }

  close(): void {
    this.#socket.destroy()
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#onData()
  }
}
