import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { md5Point } from '../../src/memcached/md5.js'
import type { Ring } from '../../src/memcached/ring.js'
import { ringOf as ringOver } from '../unit/memcached/rings.js'

/** What a script may do with a command: answer in its own way, say nothing (`null`), or let the server answer. */
export type Script = (command: string, socket: Socket) => string | Buffer | null | undefined

interface Item {
  readonly value: Buffer
  readonly flags: string
  readonly cas: number
  readonly ttl: string
}

/**
 * A memcached of a few commands (`mg ms md ma mn get gets flush_all`) on a loopback address, that misbehaves as told.
 *
 * It keeps its values and its CAS counter while it is frozen or closed, as a process that was only cut off.
 */
export class FakeMemcached {
  readonly items: Map<string, Item> = new Map()
  /** First lines of all commands, in the order they came. */
  readonly commands: string[] = []
  /** Asked before each answer. */
  script: Script | undefined
  /** Called with each new connection; true means that it has been dealt with. */
  onConnection: ((socket: Socket) => boolean) | undefined
  readonly sockets: Set<Socket> = new Set()
  #server: Server | undefined
  readonly #host: string
  #port: number
  #cas = 0
  /** Commands that came while frozen, to be run at the thaw. */
  #held: (() => void)[] | undefined

  static async start(host = '127.0.0.1', port = 0): Promise<FakeMemcached> {
    const fake = new FakeMemcached(host, port)
    await fake.listen()
    return fake
  }

  private constructor(host: string, port: number) {
    this.#host = host
    this.#port = port
  }

  get name(): string {
    return `${this.#host}:${this.#port}`
  }

  get port(): number {
    return this.#port
  }

  /** Commands that came since it was frozen. */
  get heldCount(): number {
    return this.#held?.length ?? 0
  }

  /** Listens, on the same port as before. */
  async listen(): Promise<void> {
    const server = createServer((socket) => this.#serve(socket))
    this.#server = server
    server.listen(this.#port, this.#host)
    await once(server, 'listening')
    this.#port = (server.address() as AddressInfo).port
  }

  /** Resets all connections and listens no more. */
  async crash(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    this.resetAll()
    if (server === undefined) return
    server.close()
    await once(server, 'close')
  }

  /** Forgets everything, as a process that is started again. */
  restart(): void {
    this.items.clear()
    this.#cas = 0
  }

  /** Does what a command asks for, without an answer. */
  run(command: string): void {
    this.#answer(command, Buffer.alloc(0))
  }

  resetAll(): void {
    for (const socket of this.sockets) socket.resetAndDestroy()
  }

  /** Takes connections and commands, and answers nothing, as a stopped process does. */
  freeze(): void {
    this.#held ??= []
  }

  /** Runs what came meanwhile, also on connections that are gone. */
  thaw(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const run of held) run()
  }

  set(key: string, value: string): void {
    this.#cas += 1
    this.items.set(key, { value: Buffer.from(value), flags: '16', cas: this.#cas, ttl: '-1' })
  }

  text(key: string): string | undefined {
    return this.items.get(key)?.value.toString()
  }

  #serve(socket: Socket): void {
    this.sockets.add(socket)
    socket.on('close', () => this.sockets.delete(socket))
    socket.on('error', () => undefined)
    if (this.onConnection?.(socket) === true) return
    let input = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      input = Buffer.concat([input, chunk])
      for (;;) {
        const end = input.indexOf('\r\n')
        if (end < 0) return
        const line = input.toString('latin1', 0, end)
        const tag = / O\d+/.exec(line)?.[0] ?? ''
        const command = line.replace(tag, '')
        const size = command.startsWith('ms ') ? Number(command.split(' ')[2]) + 2 : 0
        if (input.length < end + 2 + size) return
        const body = Buffer.from(input.subarray(end + 2, end + size))
        input = input.subarray(end + 2 + size)
        const run = (): void => this.#run(command, body, socket, tag)
        if (this.#held === undefined) run()
        else this.#held.push(run)
      }
    })
  }

  #run(command: string, body: Buffer, socket: Socket, tag: string): void {
    this.commands.push(command)
    const scripted = this.script?.(command, socket)
    if (scripted === null) return
    const answer = scripted ?? this.#answer(command, body)
    if (socket.writable) socket.write(tagged(Buffer.from(answer), tag))
  }

  #store(key: string, item: Omit<Item, 'cas'>): Item {
    this.#cas += 1
    const stored = { ...item, cas: this.#cas }
    this.items.set(key, stored)
    return stored
  }

  #valueOf(key: string, verb: 'get' | 'gets'): Buffer[] {
    const item = this.items.get(key)
    if (item === undefined) return []
    const head = `VALUE ${key} ${item.flags} ${item.value.length}${verb === 'gets' ? ` ${item.cas}` : ''}\r\n`
    return [Buffer.from(head), item.value, Buffer.from('\r\n')]
  }

  #answer(command: string, body: Buffer): string | Buffer {
    const [verb, key = '', ...flags] = command.split(' ')
    const item = this.items.get(key)
    const given = (letter: string): string | undefined => flags.find((flag) => flag.startsWith(letter))?.slice(1)
    const cas = flags.includes('c') ? (current: number): string => ` c${current}` : (): string => ''
    if (item !== undefined && given('C') !== undefined && given('C') !== `${item.cas}`) return 'EX\r\n'
    switch (verb) {
      case 'mg': {
        if (item === undefined && given('N') === undefined) return 'EN\r\n'
        const leased = this.items.has(key) ? '' : ' W'
        const {
          value,
          flags: marks,
          cas: id,
          ttl,
        } = item ?? this.#store(key, { value: Buffer.alloc(0), flags: '0', ttl: '9' })
        if (!flags.includes('v')) return `HD${cas(id)}\r\n`
        const ttlShown = flags.includes('t') ? ` t${ttl}` : ''
        const head = `VA ${value.length} f${marks}${cas(id)}${ttlShown}${leased}\r\n`
        return Buffer.concat([Buffer.from(head), value, Buffer.from('\r\n')])
      }
      case 'get':
      case 'gets':
        return Buffer.concat([...[key, ...flags].flatMap((each) => this.#valueOf(each, verb)), Buffer.from('END\r\n')])
      case 'ms': {
        const mode = given('M') ?? 'S'
        if (item === undefined && given('C') !== undefined) return 'NF\r\n'
        if ((mode === 'E') !== (item === undefined) && mode !== 'S') return 'NS\r\n'
        const value = mode === 'A' && item !== undefined ? Buffer.concat([item.value, body]) : body
        const time = given('T') ?? '0'
        const stored = this.#store(key, { value, flags: given('F') ?? '0', ttl: time === '0' ? '-1' : time })
        return `HD${cas(stored.cas)}\r\n`
      }
      case 'ma': {
        if (item === undefined) return 'NF\r\n'
        const count = `${BigInt(item.value.toString()) + BigInt(given('D') ?? 1)}`
        this.#store(key, { ...item, value: Buffer.from(count) })
        return `VA ${count.length}\r\n${count}\r\n`
      }
      case 'md':
        return this.items.delete(key) ? 'HD\r\n' : 'NF\r\n'
      case 'mn':
        return 'MN\r\n'
      case 'flush_all':
        this.items.clear()
        return 'OK\r\n'
      default:
        return 'ERROR\r\n'
    }
  }
}

/** What carries the request's number back. */
function tagged(answer: Buffer, tag: string): Buffer {
  const end = answer.indexOf('\r\n')
  if (end < 0 || !/^(VA|HD|NF|NS|EX)( |$)/.test(answer.toString('latin1', 0, end))) return answer
  return Buffer.concat([answer.subarray(0, end), Buffer.from(tag), answer.subarray(end)])
}

/** A ring over these servers, to know where a key belongs. */
export function ringOf(fakes: readonly FakeMemcached[]): Ring {
  return ringOver(fakes.map(({ name }) => name))
}

/** `count` keys whose own node is `fakes[node]`. */
export function keysOf(fakes: readonly FakeMemcached[], node: number, count: number): string[] {
  const ring = ringOf(fakes)
  const keys: string[] = []
  for (let i = 0; keys.length < count; i += 1) {
    if (ring.owner(md5Point(`key:${i}`)) === node) keys.push(`key:${i}`)
  }
  return keys
}
