import { createServer as createPlainServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import { createTransport, type AmqpTransport, type TransportOptions } from '../../src/amqp/index.js'
import { selfSigned } from '../helpers/certificate.js'
import { FakeAmqp } from '../helpers/fake-amqp.js'
import { kernelSockets } from '../helpers/kernel.js'

const tls = { ca: selfSigned().cert, servername: 'localhost' }
const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await expect.poll(() => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length).toBe(0)
})

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => new Promise((resolve) => server.close(resolve)))
  return (server.address() as AddressInfo).port
}

/** TLS in front of a fake broker; a relay that can be paused as a frozen server would be. */
async function tlsBroker(): Promise<{ port: number; fake: FakeAmqp; sockets: Set<TLSSocket> }> {
  const fake = await FakeAmqp.listen()
  cleanups.push(() => fake.close())
  const sockets = new Set<TLSSocket>()
  const server = createTlsServer(selfSigned(), (socket) => {
    const [host, port] = fake.address.split(':') as [string, string]
    const upstream = connect(Number(port), host)
    sockets.add(socket)
    socket.on('close', () => {
      sockets.delete(socket)
      upstream.destroy()
    })
    for (const one of [socket, upstream]) one.on('error', () => socket.destroy())
    socket.pipe(upstream).pipe(socket)
  })
  server.on('tlsClientError', () => undefined)
  const port = await listen(server)
  return { port, fake, sockets }
}

/** Relays to a TLS server and resets the client after so many bytes of the server's. */
async function cutter(
  target: number,
): Promise<{ port: number; cutAfter: (bytes: number) => void; sockets: Set<Socket> }> {
  let limit = Infinity
  const sockets = new Set<Socket>()
  const server = createPlainServer((socket) => {
    let count = 0
    sockets.add(socket)
    const upstream = connect(target, '127.0.0.1')
    socket.on('close', () => {
      sockets.delete(socket)
      upstream.destroy()
    })
    for (const one of [socket, upstream]) one.on('error', () => socket.destroy())
    socket.pipe(upstream)
    if (limit === 0) socket.resetAndDestroy()
    upstream.on('data', (data: Buffer) => {
      const allowed = data.subarray(0, limit - count)
      count += allowed.length
      socket.write(allowed, () => (count >= limit ? socket.resetAndDestroy() : undefined))
    })
  })
  return { port: await listen(server), cutAfter: (bytes) => (limit = bytes), sockets }
}

function transportTo(ports: readonly number[], options: TransportOptions = {}): AmqpTransport {
  const hosts = ports.map((port) => ({ host: '127.0.0.1', port }))
  const transport = createTransport({
    hosts,
    env: {},
    failoverStrategy: 'round-robin',
    standby: false,
    tls,
    ...options,
  })
  cleanups.push(() => transport.destroy())
  return transport
}

describe('over TLS', () => {
  test('a server that accepts and says nothing is raced by the next, and reset', async () => {
    const silent = new Set<Socket>()
    const server = createPlainServer((socket) => {
      silent.add(socket.on('error', () => undefined))
      socket.on('close', () => silent.delete(socket))
    })
    const [port, good] = [await listen(server), await tlsBroker()]
    const transport = transportTo([port, good.port])
    const startedAt = performance.now()
    await transport.ready()
    expect(performance.now() - startedAt).toBeLessThan(1500)
    await expect.poll(() => [silent.size, kernelSockets({ remote: port }).length]).toEqual([0, 0])
  })

  test('a handshake that is reset after any of its first 2000 bytes is a failed attempt', async () => {
    const [bad, good] = [await tlsBroker(), await tlsBroker()]
    const relay = await cutter(bad.port)
    for (let bytes = 0; bytes < 2000; bytes += 61) {
      relay.cutAfter(bytes)
      const transport = createTransport({
        hosts: [relay.port, good.port].map((port) => ({ host: '127.0.0.1', port })),
        env: {},
        failoverStrategy: 'round-robin',
        standby: false,
        tls,
      })
      const startedAt = performance.now()
      await transport.publish('', 'q', 'x')
      expect(performance.now() - startedAt, `cut after ${String(bytes)} bytes`).toBeLessThan(2000)
      transport.destroy()
    }
    await expect.poll(() => [relay.sockets.size, good.sockets.size]).toEqual([0, 0])
  })

  test('an attempt that is given up at any moment leaves nothing behind', async () => {
    const { port, sockets } = await tlsBroker()
    for (let turns = 0; turns < 40; turns += 1) {
      const transport = transportTo([port])
      for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve))
      transport.destroy()
    }
    await expect.poll(() => sockets.size).toBe(0)
  })

  test('a server that goes silent with a message in flight is given up within 3.5 s, by reset', async () => {
    const [first, second] = [await tlsBroker(), await tlsBroker()]
    const transport = transportTo([first.port, second.port])
    await transport.publish('', 'q', 'before')
    first.fake.behaviour.isSilent = true
    const startedAt = performance.now()
    await transport.publish('', 'q', 'x'.repeat(1_000_000))
    expect(performance.now() - startedAt).toBeLessThan(4500)
    expect(second.fake.published).toHaveLength(1)
    await expect.poll(() => kernelSockets({ remote: first.port }).length).toBe(0)
  })

  test('a certificate of somebody else is a failed attempt that says so', async () => {
    const { port } = await tlsBroker()
    const transport = transportTo([port], { tls: { ca: tls.ca, servername: 'elsewhere' } })
    await expect(transport.ready({ timeoutMs: 500 })).rejects.toThrow(/elsewhere/)
  })
})
