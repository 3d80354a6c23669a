import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { cut } from '../../src/core/cut.js'
import { selfSigned } from '../helpers/certificate.js'
import { kernelSockets, portPair, type PortPair } from '../helpers/kernel.js'

const MANY_BYTES = Buffer.alloc(8 * 1024 * 1024, 'x')

interface Pair {
  readonly socket: Socket
  /** The other end; it reads nothing until it is resumed. */
  readonly peer: Socket
}

const open: { destroy(): unknown }[] = []
const uncaught = vi.fn()

beforeEach(() => {
  process.on('uncaughtException', uncaught)
})

afterEach(() => {
  process.off('uncaughtException', uncaught)
  for (const socket of open.splice(0)) socket.destroy()
  expect(uncaught).not.toHaveBeenCalled()
  uncaught.mockClear()
})

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  open.push({ destroy: () => server.close() })
  return (server.address() as AddressInfo).port
}

async function connected(): Promise<Pair> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true })
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const socket = connect({ port: await listening(server), host: '127.0.0.1' })
  await once(socket, 'connect')
  const [peer] = await accepted
  open.push(socket, peer)
  return { socket, peer }
}

/** Writes more than the kernel takes from us, to a peer that does not read. */
async function jam(socket: Socket): Promise<void> {
  const ports = portPair(socket)
  socket.write(MANY_BYTES)
  await expect.poll(() => kernelSockets(ports)[0]?.sendQueue ?? 0).toBeGreaterThan(0)
  expect(socket.writableLength).toBeGreaterThan(0)
}

const firstError = (socket: Socket): Promise<Error> => new Promise((resolve) => socket.once('error', resolve))

/** Not `events.once`, which rejects at an error. */
const closed = (socket: Socket): Promise<unknown> =>
  new Promise((resolve) => (socket.closed ? resolve(undefined) : socket.once('close', resolve)))

const nextTick = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve))
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Neither end is left: a FIN instead of a reset would leave ours in FIN_WAIT and the peer's in CLOSE_WAIT. */
function expectReset({ local, remote }: PortPair): void {
  expect(kernelSockets({ local, remote })).toEqual([])
  expect(kernelSockets({ local: remote, remote: local })).toEqual([])
}

/** What reached the peer before the end. */
async function bytesFor(peer: Socket): Promise<number> {
  peer.on('error', () => undefined)
  peer.on('end', () => peer.destroy())
  peer.resume()
  await closed(peer)
  return peer.bytesRead
}

describe('cut()', () => {
  test('purges what the kernel still holds for a peer that does not read', async () => {
    const { socket, peer } = await connected()
    const ports = portPair(socket)
    await jam(socket)
    const ours = new Error('ours')
    const error = firstError(socket)
    cut(socket, ours)
    expectReset(ports)
    expect(await error).toBe(ours)
    await closed(socket)
    expect(await bytesFor(peer)).toBeLessThan(MANY_BYTES.length)
  })

  test('resets a peer that reads', async () => {
    const { socket, peer } = await connected()
    const seen = firstError(peer)
    peer.resume()
    cut(socket, new Error('ours'))
    expect(await seen).toMatchObject({ code: 'ECONNRESET' })
    await closed(socket)
  })

  test('rejects the pending write with our error', async () => {
    const { socket } = await connected()
    await jam(socket)
    const written = new Promise((resolve) => socket.write('more', resolve))
    const ours = new Error('ours')
    cut(socket, ours)
    expect(await written).toBe(ours)
    expect(socket.errored).toBe(ours)
    await closed(socket)
  })

  test('purges a socket whose end() waits behind bytes that were not sent', async () => {
    const { socket } = await connected()
    const ports = portPair(socket)
    await jam(socket)
    socket.end()
    const error = firstError(socket)
    cut(socket, new Error('ours'))
    expectReset(ports)
    expect((await error).message).toBe('ours')
  })

  test.each([
    ['in the same turn', () => Promise.resolve()],
    ['a tick later', nextTick],
    ['a turn later', nextTurn],
  ])('resets a socket that was ended %s, though libuv refuses a reset while the FIN is being sent', async (_, wait) => {
    const { socket } = await connected()
    const ports = portPair(socket)
    const error = firstError(socket)
    const closing = closed(socket)
    socket.end('last words')
    await wait()
    cut(socket, new Error('ours'))
    expect((await error).message).toBe('ours')
    expect(await closing).toBe(true)
    expectReset(ports)
  })

  test('resets a socket whose FIN was sent', async () => {
    const { socket } = await connected()
    const ports = portPair(socket)
    socket.end('last words')
    await once(socket, 'finish')
    await expect.poll(() => kernelSockets(ports)[0]?.state).toMatch(/FIN_WAIT/)
    cut(socket, new Error('ours'))
    await closed(socket)
    expectReset(ports)
  })

  test('purges a socket whose peer has ended its side', async () => {
    const server = createServer({ pauseOnConnect: true })
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const socket = connect({ port: await listening(server), host: '127.0.0.1', allowHalfOpen: true })
    const [peer] = await accepted
    open.push(socket, peer)
    peer.end('bye')
    socket.resume()
    await once(socket, 'end')
    const ports = portPair(socket)
    await jam(socket)
    cut(socket, new Error('ours'))
    expectReset(ports)
    await closed(socket)
  })

  test('ends a socket that is still connecting, with our error', async () => {
    const port = await listening(createServer())
    const socket = connect({ port, host: '127.0.0.1' })
    open.push(socket)
    const error = firstError(socket)
    cut(socket, new Error('ours'))
    expect((await error).message).toBe('ours')
    await closed(socket)
  })

  test('does nothing to a socket that is destroyed already', async () => {
    const { socket } = await connected()
    socket.destroy()
    await closed(socket)
    const onError = vi.fn()
    socket.on('error', onError)
    cut(socket, new Error('ours'))
    await nextTurn()
    expect(onError).not.toHaveBeenCalled()
  })

  test('keeps the error of a destroy that nobody listens to from crashing the process', async () => {
    const { socket } = await connected()
    socket.destroy(new Error('theirs'))
    cut(socket, new Error('ours'))
    await closed(socket)
  })

  test('may be called any number of times: the first error counts and listeners do not pile up', async () => {
    const { socket } = await connected()
    const error = firstError(socket)
    const warning = vi.fn()
    process.on('warning', warning)
    for (let i = 1; i <= 30; i += 1) cut(socket, new Error(`cut ${String(i)}`))
    expect((await error).message).toBe('cut 1')
    await closed(socket)
    for (let i = 1; i <= 30; i += 1) cut(socket, new Error('late'))
    await nextTurn()
    process.off('warning', warning)
    expect(warning).not.toHaveBeenCalled()
    expect(socket.listenerCount('error')).toBe(1)
  })
})

describe('cut() of the raw socket under TLS', () => {
  interface Secure {
    readonly raw: Socket
    readonly tls: TLSSocket
    readonly peer: Promise<[TLSSocket]>
  }

  async function secure(): Promise<Secure> {
    const server = createTlsServer(selfSigned())
    server.on('tlsClientError', () => undefined)
    const peer = once(server, 'secureConnection') as Promise<[TLSSocket]>
    const raw = connect({ port: await listening(server), host: '127.0.0.1' })
    await once(raw, 'connect')
    const tls = connectTls({ socket: raw, rejectUnauthorized: false })
    open.push(raw, tls)
    return { raw, tls, peer }
  }

  test.each([
    ['with bytes that were not sent', false],
    ['with bytes that were not sent, and ended', true],
  ])('purges the kernel queue %s', async (_, ended) => {
    const { raw, tls, peer } = await secure()
    const [other] = await peer
    open.push(other)
    const ports = portPair(raw)
    other.pause()
    tls.write(MANY_BYTES)
    await expect.poll(() => kernelSockets(ports)[0]?.sendQueue ?? 0).toBeGreaterThan(0)
    if (ended) tls.end()
    const errors: Error[] = []
    tls.on('error', (error: Error) => errors.push(error))
    cut(raw, new Error('ours'))
    await Promise.all([closed(tls), closed(raw)])
    expect(errors[0]?.message).toBe('ours')
    expectReset(ports)
  })

  test('resets a connection that was ended in the same turn', async () => {
    const { raw, tls, peer } = await secure()
    const [other] = await peer
    open.push(other)
    other.on('error', () => undefined)
    const ports = portPair(raw)
    tls.on('error', () => undefined)
    tls.end('last words')
    await nextTick()
    cut(raw, new Error('ours'))
    await closed(raw)
    expectReset(ports)
  })

  test('ends a handshake that is under way, with our error', async () => {
    const { raw, tls } = await secure()
    const ports = portPair(raw)
    const error = firstError(tls)
    tls.on('error', () => undefined)
    cut(raw, new Error('ours'))
    expect((await error).message).toBe('ours')
    await closed(raw)
    expectReset(ports)
  })
})
