import { once } from 'node:events'
import { createServer, type AddressInfo, type LookupFunction, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Dialler } from '../../src/core/dialler.js'
import { kernelSockets } from '../helpers/kernel.js'
import { silentServer } from './silent-server.js'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

async function listen(host: string, port = 0): Promise<number> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    sockets.push(socket)
  })
  server.listen({ host, port })
  await once(server, 'listening')
  closers.push(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

let addresses: readonly string[] = []
const lookup: LookupFunction = (_name, _options, callback) =>
  callback(
    null,
    addresses.map((address) => ({ address, family: 4 })),
  )

let port = 0
let dialler: Dialler
beforeEach(async () => {
  port = await listen('127.0.0.2')
  dialler = new Dialler({ host: 'name', port }, undefined, lookup)
})

async function dial(signal: AbortSignal = AbortSignal.timeout(20_000)): Promise<string> {
  const { socket, address } = await dialler.dial(signal)
  closers.push(() => socket.destroy())
  expect(socket.remoteAddress).toBe(address)
  return address
}

describe('a dial of a name with several addresses', () => {
  test('passes over one that refuses', async () => {
    addresses = ['127.0.0.3', '127.0.0.2']
    expect(await dial()).toBe('127.0.0.2')
  })

  test('goes on beside one that is silent, and drops that when it has another', async () => {
    const silent = await silentServer('127.0.0.3', port)
    closers.push(() => silent.close())
    addresses = ['127.0.0.3', '127.0.0.2']
    const { socket } = await dialler.dial(AbortSignal.timeout(20_000))
    closers.push(() => socket.destroy())
    expect(socket.remoteAddress).toBe('127.0.0.2')
    await expect.poll(() => attempts(port)).toBe(0)
  })

  test('names all addresses when all refuse', async () => {
    addresses = ['127.0.0.3', '127.0.0.4']
    const error: unknown = await dial().catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(AggregateError)
    expect((error as AggregateError).errors).toMatchObject([{ code: 'ECONNREFUSED' }, { code: 'ECONNREFUSED' }])
    expect(String(error)).toMatch(/127\.0\.0\.3:.*127\.0\.0\.4:/)
  })

  test('ends with the reason of its signal, leaves no attempt behind, and starts elsewhere the next time', async () => {
    const silent = await silentServer('127.0.0.3', port)
    closers.push(() => silent.close())
    addresses = ['127.0.0.3']
    const stop = new AbortController()
    const dialled = expect(dialler.dial(stop.signal)).rejects.toThrow('late')
    await expect.poll(() => attempts(port)).toBe(1)
    stop.abort(new Error('late'))
    await dialled
    await expect.poll(() => attempts(port)).toBe(0)
    addresses = ['127.0.0.3', '127.0.0.2']
    // Were the silent one first, 300 ms would be lost: the limit is not reached, the order is what is asked.
    expect(await dial()).toBe('127.0.0.2')
    expect(await dial(AbortSignal.timeout(10_000))).toBe('127.0.0.2')
  })

  test('keeps to the address that worked last, whatever order the name server gives', async () => {
    await listen('127.0.0.3', port)
    addresses = ['127.0.0.2', '127.0.0.3']
    dialler.worked(await dial())
    addresses = ['127.0.0.3', '127.0.0.2']
    expect(await dial()).toBe('127.0.0.2')
  })

  test('leaves an address that accepted but gave no service', async () => {
    await listen('127.0.0.3', port)
    addresses = ['127.0.0.2', '127.0.0.3']
    dialler.worked(await dial())
    dialler.failed('127.0.0.2')
    expect(await dial()).toBe('127.0.0.3')
    dialler.failed('127.0.0.3')
    expect(await dial()).toBe('127.0.0.2')
  })
})

test('a dial with a source address that cannot be used rejects', async () => {
  addresses = ['127.0.0.2', '127.0.0.3']
  dialler = new Dialler({ host: 'name', port }, 'no address', lookup)
  await expect(dial()).rejects.toThrow(/no address/)
})

test('a dial that is given up before its name is found rejects at once', async () => {
  dialler = new Dialler({ host: 'name', port }, undefined, () => undefined)
  const stop = new AbortController()
  const dialled = expect(dialler.dial(stop.signal)).rejects.toThrow('given up')
  stop.abort(new Error('given up'))
  await dialled
})

/** Connection attempts of this machine to the port that have no answer. */
function attempts(remote: number): number {
  return kernelSockets({ remote }).filter(({ state }) => state === 'SYN_SENT').length
}
