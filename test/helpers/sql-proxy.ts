import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** What becomes of the next statement that contains a text. */
export type Trick =
  /** The server gets it; its answer is dropped and the client's connection reset. */
  | 'lose-answer'
  /** The server never gets it; both connections are reset. */
  | 'lose-statement'
  /** The server never gets it; both connections stay as they are, and silent. */
  | 'swallow'
  /** The server gets it when told to; meanwhile the client hears nothing more from this node. */
  | 'hold'

interface Plan {
  readonly text: string
  readonly trick: Trick
  readonly played: () => void
}

/**
 * Stands between a client and one real server, and loses chosen statements or their answers.
 *
 * Looks at single packets only, which is enough for short statements.
 */
export class SqlProxy {
  readonly #server: Server
  readonly #target: { readonly host: string; readonly port: number }
  readonly #sockets = new Set<Socket>()
  #plan: Plan | undefined
  #isDark = false
  #release: () => void = () => undefined

  private constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server
    this.#target = target
    server.on('connection', (client) => this.#join(client))
  }

  static async open(target: { readonly host: string; readonly port: number }): Promise<SqlProxy> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new SqlProxy(server, target)
  }

  get address(): string {
    return `127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`
  }

  /** Plays a trick on the next statement with `text` in it; resolves when it was played. */
  next(text: string, trick: Trick): Promise<void> {
    return new Promise((resolve) => {
      this.#plan = { text, trick, played: resolve }
    })
  }

  /** Nothing passes any more, and nobody is told. */
  goDark(): void {
    this.#isDark = true
  }

  /** Gives the server what was held; resolves to its answer. */
  release(): void {
    this.#release()
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  #join(client: Socket): void {
    const server = connect(this.#target)
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        this.#sockets.delete(socket)
        if (!this.#isDark) (socket === client ? server : client).destroy()
      })
    }
    let isDeaf = false
    client.on('data', (data) => {
      if (this.#isDark) return
      const plan = this.#plan
      if (plan === undefined || !data.includes(plan.text)) {
        server.write(data)
        return
      }
      this.#plan = undefined
      isDeaf = true
      this.#play(plan, data, client, server)
    })
    server.on('data', (data) => {
      if (!isDeaf && !this.#isDark) client.write(data)
    })
  }

  #play({ trick, played }: Plan, data: Buffer, client: Socket, server: Socket): void {
    if (trick === 'lose-statement') {
      client.resetAndDestroy()
      server.resetAndDestroy()
      played()
      return
    }
    if (trick === 'lose-answer') {
      server.write(data)
      server.once('data', () => {
        client.resetAndDestroy()
        played()
      })
      return
    }
    if (trick === 'swallow') {
      played()
      return
    }
    this.#isDark = true
    this.#release = () => server.write(data)
    played()
  }
}
