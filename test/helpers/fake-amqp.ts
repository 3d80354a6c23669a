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
  /** Answers everything up to this one, and nothing from there on; the protocol header counts as `header`. */
  silentFrom?: FakeMethod | 'header'
  /** Refuses the login with 403. */
  refusesLogin?: boolean
  /** Confirms nothing, but answers everything else. */
  withholdsConfirms?: boolean
  /** Asked first about each method of an open connection; true when it has dealt with it. */
  onMethod?: (call: FakeCall) => boolean
  /** Answers a method by closing the connection, or the channel. */
  refuses?: Partial<Record<FakeMethod, FakeRefusal>>
  /** Resets the connection when so many bytes of a message's body have come. */
  cutsAfterBodyBytes?: number
  /** Resets each connection as soon as it was sent so many bytes. */
  cutAfterBytes?: number
  /** Ends each connection (FIN) as soon as it was sent so many bytes. */
  endAfterBytes?: number
  /** Sends one byte at a time, with this pause. */
  dripMs?: number
  /** What the broker says instead of `connection.start`. */
  greeting?: Buffer
  /** The `frame_max` that the broker offers. @default 131072 */
  frameMax?: number
}

/** What a client may ask of a fake broker, by the protocol's names. */
export type FakeMethod =
  | 'connection.start-ok'
  | 'connection.tune-ok'
  | 'connection.open'
  | 'connection.close'
  | 'channel.open'
  | 'channel.close'
  | 'exchange.declare'
  | 'exchange.bind'
  | 'queue.declare'
  | 'queue.bind'
  | 'basic.qos'
  | 'basic.publish'
  | 'confirm.select'

type MethodTable = Readonly<
  Record<FakeMethod, readonly [id: string, answer?: readonly [number, number], argumentBytes?: number]>
>

/** A method that a client sent. */
export interface FakeCall {
  /** Class and method, as in `60,20`. */
  readonly id: string
  readonly channel: number
  /** What follows class and method. */
  readonly args: Buffer
  /** Sends frames to that client, made by {@link frame}. */
  readonly send: (...frames: readonly Buffer[]) => void
}

/** How a fake broker refuses. */
export interface FakeRefusal {
  readonly closes: 'connection' | 'channel'
  readonly code: number
  readonly text: string
}

const FRAME_END = 0xce
/** Class and method of what clients ask, and of the plain answer where there is one, with its arguments. */
const METHODS: MethodTable = {
  'connection.start-ok': ['10,11'],
  'connection.tune-ok': ['10,31'],
  'connection.open': ['10,40', [10, 41], 1],
  'connection.close': ['10,50', [10, 51]],
  'channel.open': ['20,10', [20, 11], 4],
  'channel.close': ['20,40', [20, 41]],
  'exchange.declare': ['40,10', [40, 11]],
  'exchange.bind': ['40,30', [40, 31]],
  'queue.declare': ['50,10', [50, 11], 9],
  'queue.bind': ['50,20', [50, 21]],
  'basic.qos': ['60,10', [60, 11]],
  'basic.publish': ['60,40'],
  'confirm.select': ['85,10', [85, 11]],
}

const NAMES: ReadonlyMap<string, FakeMethod> = new Map(
  Object.entries(METHODS).map(([name, [id]]) => [id, name as FakeMethod]),
)

/** The payload of a method frame. */
export function method(classId: number, methodId: number, args: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(classId, 0)
  head.writeUInt16BE(methodId, 2)
  return Buffer.concat([head, args])
}

/** A frame: type 1 is a method, 2 a header, 3 a body. */
export function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7)
  head.writeUInt8(type, 0)
  head.writeUInt16BE(channel, 1)
  head.writeUInt32BE(payload.length, 3)
  return Buffer.concat([head, payload, Buffer.from([FRAME_END])])
}

/** A string of at most 255 bytes. */
export function shortString(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])
}

function longString(text: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length, 0)
  return Buffer.concat([length, Buffer.from(text)])
}

/** A RabbitMQ that knows the handshake, channels, declaring, publishing and confirming, and can be made to fail. */
export class FakeAmqp {
  readonly behaviour: FakeBehaviour
  readonly published: FakePublished[] = []
  /** What clients asked, in order. */
  readonly asked: FakeMethod[] = []
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
  readonly #sendFrames = (...frames: readonly Buffer[]): void => void this.#socket.write(Buffer.concat(frames))
  #rest = Buffer.alloc(0)
  #isPastHeader = false
  #isMute = false
  #sentCount = 0
  #unsent = Buffer.alloc(0)
  #drip: NodeJS.Timeout | undefined
  #message: Incoming | undefined

  constructor(fake: FakeAmqp, socket: Socket) {
    this.#fake = fake
    this.#socket = socket
  }

  start(): void {
    this.#socket.on('close', () => clearInterval(this.#drip))
    this.#socket.on('data', (data) => {
      if (this.#fake.behaviour.isSilent === true) return
      this.#rest = Buffer.concat([this.#rest, data])
      if (!this.#isPastHeader && this.#rest.length >= 8) {
        this.#isPastHeader = true
        this.#rest = this.#rest.subarray(8)
        this.#greet()
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

  #greet(): void {
    const { greeting, silentFrom } = this.#fake.behaviour
    if (silentFrom === 'header') this.#isMute = true
    const args = [Buffer.from([0, 9]), longString(''), longString('PLAIN'), longString('en_US')]
    if (greeting === undefined) this.send(0, method(10, 10, Buffer.concat(args)))
    else this.#write(greeting)
  }

  #onMethod(channel: number, payload: Buffer): void {
    const id = `${String(payload.readUInt16BE(0))},${String(payload.readUInt16BE(2))}`
    const { behaviour } = this.#fake
    if (behaviour.onMethod?.({ id, channel, args: payload.subarray(4), send: this.#sendFrames }) === true) return
    const name = NAMES.get(id)
    if (name === undefined) return
    this.#fake.asked.push(name)
    if (name === 'channel.open') this.#tags.delete(channel)
    if (behaviour.silentFrom === name) this.#isMute = true
    const refusal = behaviour.refuses?.[name]
    if (refusal !== undefined) this.#refuse(channel, refusal)
    else if (name === 'basic.publish') this.#onPublish(payload)
    else if (name === 'connection.start-ok') this.#onLogin()
    else {
      const [, answer, argumentBytes = 0] = METHODS[name]
      if (answer !== undefined) this.send(channel, method(...answer, Buffer.alloc(argumentBytes)))
    }
  }

  #onLogin(): void {
    const { refusesLogin, frameMax = 131_072 } = this.#fake.behaviour
    const text = 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN'
    if (refusesLogin === true) {
      this.#refuse(0, { closes: 'connection', code: 403, text })
      return
    }
    const tune = Buffer.from([0, 0, 0, 0, 0, 0, 0, 60])
    tune.writeUInt32BE(frameMax, 2)
    this.send(0, method(10, 30, tune))
  }

  #onPublish(payload: Buffer): void {
    const exchangeLength = payload.readUInt8(6)
    const exchange = payload.subarray(7, 7 + exchangeLength).toString()
    const keyAt = 7 + exchangeLength
    const routingKey = payload.subarray(keyAt + 1, keyAt + 1 + payload.readUInt8(keyAt)).toString()
    this.#message = { exchange, routingKey, properties: '', left: 0, body: '' }
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
    const refuse = (code: number, text: string): void => this.#refuse(channel, { closes: 'channel', code, text })
    this.#fake.published.push({ exchange, routingKey, properties, body, answer, refuse })
    if (this.#fake.behaviour.withholdsConfirms !== true) answer('ack')
  }

  confirm(channel: number, tag: number, verdict: 'ack' | 'nack', isMultiple: boolean): void {
    const args = Buffer.alloc(9)
    args.writeBigUInt64BE(BigInt(tag), 0)
    args.writeUInt8(isMultiple ? 1 : 0, 8)
    this.send(channel, method(60, verdict === 'ack' ? 80 : 120, args))
  }

  #refuse(channel: number, { closes, code, text }: FakeRefusal): void {
    const codeBytes = Buffer.alloc(2)
    codeBytes.writeUInt16BE(code, 0)
    const args = Buffer.concat([codeBytes, shortString(text), Buffer.alloc(4)])
    if (closes === 'channel') this.#tags.delete(channel)
    if (closes === 'connection') this.send(0, method(10, 50, args))
    else this.send(channel, method(20, 40, args))
  }

  /** Sends a method to the client. */
  send(channel: number, payload: Buffer): void {
    this.#write(frame(1, channel, payload))
  }

  #write(bytes: Buffer): void {
    if (this.#isMute) return
    const { dripMs } = this.#fake.behaviour
    if (dripMs === undefined) {
      this.#deliver(bytes)
      return
    }
    this.#unsent = Buffer.concat([this.#unsent, bytes])
    this.#drip ??= setInterval(() => {
      this.#deliver(this.#unsent.subarray(0, 1))
      this.#unsent = this.#unsent.subarray(1)
    }, dripMs)
  }

  #deliver(bytes: Buffer): void {
    const { cutAfterBytes, endAfterBytes } = this.#fake.behaviour
    const limit = cutAfterBytes ?? endAfterBytes ?? Infinity
    const allowed = bytes.subarray(0, Math.max(0, limit - this.#sentCount))
    this.#sentCount += allowed.length
    const isOver = this.#sentCount >= limit
    this.#socket.write(allowed, () => {
      if (isOver && cutAfterBytes !== undefined) this.#socket.resetAndDestroy()
      else if (isOver) this.#socket.end()
    })
  }
}
