import { createServer, type Server, type Socket } from 'node:net'

const ADDRESS = { host: '127.0.7.1', port: 5672 } as const

/** A host that accepts connections and says nothing: what a frozen node looks like, without the cluster missing one. */
export class SilentHost {
  /** As clients are told. */
  readonly name: string = `${ADDRESS.host}:${ADDRESS.port}`
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #accepted = 0

  private constructor() {
    this.#server = createServer((socket) => {
      this.#accepted += 1
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  static start(): Promise<SilentHost> {
    const host = new SilentHost()
    return new Promise((resolve, reject) => {
      host.#server.once('error', reject)
      host.#server.listen(ADDRESS, () => resolve(host))
    })
  }

  /** Connections that it has had. */
  get accepted(): number {
    return this.#accepted
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}
