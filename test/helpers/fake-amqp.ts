import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** A message that a fake broker was sent. */
export interface FakePublished {
  readonly exchange: string
  readonly routingKey: string
  readonly body: string
  /** The header frame as it came: enough to look for a message id or a header in it. */
  readonly properties: string
  /** What the broker says of it, and, with `isMultiple`, of all before it on the same channel. */
  readonly answer: (verdict: 'ack' | 'nack', isMultiple?: boolean) => void
  /** Closes the channel that brought it, because of an error. */
  readonly refuse: (code: number, text: string) => void
}

/** How a fake broker behaves; may be changed while it runs. */
export interface FakeBehaviour {
  /** Accepts connections and never says a word. */
  isSilent?: boolean
  /** Speaks until then: `start` ends in the middle of the handshake. */
  stopsAfter?: 'start' | 'handshake'
  /** Refuses the login with 403. */
  refusesLogin?: boolean
  /** Confirms nothing, but answers everything else. */
  withholdsConfirms?: boolean
  /** Resets the connection when so many bytes of a message's body have come. */
  cutsAfterBodyBytes?: number
}

const FRAME_END = 0xce
const CONFIRMED_METHODS: Readonly<Record<string, Buffer>> = {
  '20,10': method(20, 11, Buffer.alloc(4)),
  '20,40': method(20, 41),
  '85,10': method(85, 11),
  '60,10': method(60, 11),
  '10,50': method(10, 51),
}

function method(classId: number, methodId: number, args: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(classId, 0)
  head.writeUInt16BE(methodId, 2)
  return Buffer.concat([head, args])
}

function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7)
  head.writeUInt8(type, 0)
  head.writeUInt16BE(channel, 1)
  head.writeUInt32BE(payload.length, 3)
  return Buffer.concat([head, payload, Buffer.from([FRAME_END])])
}

function shortString(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])
}

function longString(text: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length, 0)
  return Buffer.concat([length, Buffer.from(text)])
}

/** A RabbitMQ that knows the handshake, channels, qos, publishing and confirming, and can be made to fail. */
export class FakeAmqp {
  readonly behaviour: FakeBehaviour
  readonly published: FakePublished[] = []
  connectionCount = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #peers = new Set<FakePeer>()

  private constructor(behaviour: FakeBehaviour) {
    this.behaviour = behaviour
    this.#server = createServer((socket) => {
      this.connectionCount += 1
      this.#sockets.add(socket)
      const peer = new FakePeer(this, socket)
      this.#peers.add(peer)
      socket.on('close', () => {
        this.#sockets.delete(socket)
        this.#peers.delete(peer)
      })
      socket.on('error', () => undefined)
      peer.start()
    })
  }

  static async listen(behaviour: FakeBehaviour = {}): Promise<FakeAmqp> {
    const fake = new FakeAmqp(behaviour)
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve))
    return fake
  }

  /** `host:port`. */
  get address(): string {
    return `127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`
  }

  get openCount(): number {
    return this.#sockets.size
  }

  /** Tells every client that it takes no messages for want of memory. */
  block(): void {
    for (const peer of this.#peers) peer.send(0, method(10, 60, shortString('low on memory')))
  }

  /** Tells every client that it takes messages again. */
  unblock(): void {
    for (const peer of this.#peers) peer.send(0, method(10, 61))
  }

  /** Resets every connection. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  async close(): Promise<void> {
    this.reset()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

interface Incoming {
  readonly exchange: string
  readonly routingKey: string
  properties: string
  left: number
  body: string
}

/** The broker's side of one connection. */
class FakePeer {
  readonly #fake: FakeAmqp
  readonly #socket: Socket
  readonly #tags = new Map<number, number>()
  #rest = Buffer.alloc(0)
  #isPastHeader = false
  #message: Incoming | undefined

  constructor(fake: FakeAmqp, socket: Socket) {
    this.#fake = fake
    this.#socket = socket
  }

  start(): void {
    this.#socket.on('data', (data) => {
      if (this.#fake.behaviour.isSilent === true) return
      this.#rest = Buffer.concat([this.#rest, data])
      if (!this.#isPastHeader && this.#rest.length >= 8) {
        this.#isPastHeader = true
        this.#rest = this.#rest.subarray(8)
        const args = [Buffer.from([0, 9]), longString(''), longString('PLAIN'), longString('en_US')]
        this.send(0, method(10, 10, Buffer.concat(args)))
      }
      this.#readFrames()
    })
  }

  #readFrames(): void {
    while (this.#isPastHeader && this.#rest.length >= 8) {
      const length = this.#rest.readUInt32BE(3) + 8
      if (this.#rest.length < length) return
      const [type, channel] = [this.#rest.readUInt8(0), this.#rest.readUInt16BE(1)]
      const payload = this.#rest.subarray(7, length - 1)
      this.#rest = this.#rest.subarray(length)
      if (type === 1) this.#onMethod(channel, payload)
      else if (type === 2) this.#onHeader(channel, payload)
      else if (type === 3) this.#onBody(channel, payload)
    }
  }

  #onMethod(channel: number, payload: Buffer): void {
    const id = `${String(payload.readUInt16BE(0))},${String(payload.readUInt16BE(2))}`
    const { behaviour } = this.#fake
    if (id === '10,11') {
      if (behaviour.stopsAfter === 'start') return
      if (behaviour.refusesLogin === true) this.#refuseLogin()
      else this.send(0, method(10, 30, Buffer.from([0, 0, 0, 2, 0, 0, 0, 60])))
    } else if (id === '10,40') {
      this.send(0, method(10, 41, Buffer.from([0])))
    } else if (id === '20,10') {
      this.#tags.delete(channel)
      if (behaviour.stopsAfter !== 'handshake') this.send(channel, CONFIRMED_METHODS[id] as Buffer)
    } else if (id === '60,40') {
      const exchangeLength = payload.readUInt8(6)
      const exchange = payload.subarray(7, 7 + exchangeLength).toString()
      const keyAt = 7 + exchangeLength
      const routingKey = payload.subarray(keyAt + 1, keyAt + 1 + payload.readUInt8(keyAt)).toString()
      this.#message = { exchange, routingKey, properties: '', left: 0, body: '' }
    } else if (behaviour.stopsAfter !== 'handshake') {
      const answer = CONFIRMED_METHODS[id]
      if (answer !== undefined) this.send(channel, answer)
    }
  }

  #onHeader(channel: number, payload: Buffer): void {
    if (this.#message === undefined) return
    this.#message.left = Number(payload.readBigUInt64BE(4))
    this.#message.properties = payload.toString('latin1')
    if (this.#message.left === 0) this.#onComplete(channel)
  }

  #onBody(channel: number, payload: Buffer): void {
    if (this.#message === undefined) return
    const { cutsAfterBodyBytes = Infinity } = this.#fake.behaviour
    if (this.#message.body.length + payload.length >= cutsAfterBodyBytes) this.#fake.reset()
    this.#message.left -= payload.length
    this.#message.body += payload.toString()
    if (this.#message.left === 0) this.#onComplete(channel)
  }

  #onComplete(channel: number): void {
    const { exchange, routingKey, properties, body } = this.#message as Incoming
    this.#message = undefined
    const tag = (this.#tags.get(channel) ?? 0) + 1
    this.#tags.set(channel, tag)
    const answer = (verdict: 'ack' | 'nack', isMultiple = false): void =>
      this.confirm(channel, tag, verdict, isMultiple)
    const refuse = (code: number, text: string): void => this.#closeChannel(channel, code, text)
    this.#fake.published.push({ exchange, routingKey, properties, body, answer, refuse })
    if (this.#fake.behaviour.withholdsConfirms !== true) answer('ack')
  }

  confirm(channel: number, tag: number, verdict: 'ack' | 'nack', isMultiple: boolean): void {
    const args = Buffer.alloc(9)
    args.writeBigUInt64BE(BigInt(tag), 0)
    args.writeUInt8(isMultiple ? 1 : 0, 8)
    this.send(channel, method(60, verdict === 'ack' ? 80 : 120, args))
  }

  #closeChannel(channel: number, replyCode: number, text: string): void {
    const code = Buffer.alloc(2)
    code.writeUInt16BE(replyCode, 0)
    this.#tags.delete(channel)
    this.send(channel, method(20, 40, Buffer.concat([code, shortString(text), Buffer.from([0, 60, 0, 40])])))
  }

  #refuseLogin(): void {
    const code = Buffer.alloc(2)
    code.writeUInt16BE(403, 0)
    const text = 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN'
    this.send(0, method(10, 50, Buffer.concat([code, shortString(text), Buffer.alloc(4)])))
  }

  /** Sends a method to the client. */
  send(channel: number, payload: Buffer): void {
    this.#socket.write(frame(1, channel, payload))
  }
}
