import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { TimeLimit } from '../../src/core/time-limit.js'
import { now } from '../../src/core/timing.js'

const STALL_MS = 3000
const LIMIT_MS = 500

const open: { destroy(): unknown }[] = []

afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy()
})

/** Stops our own event loop: nothing runs, neither timers nor I/O. */
function stall(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

async function connected(): Promise<{ readonly socket: Socket; readonly peer: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  open.push({ destroy: () => server.close() })
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  const [peer] = await accepted
  open.push(socket, peer)
  return { socket, peer }
}

describe('a time limit during a stall of our own event loop', () => {
  test('does not expire when the answer waits in the socket', async () => {
    const { socket, peer } = await connected()
    const onExpired = vi.fn()
    const answered = new Promise<number>((resolve) => {
      const limit = new TimeLimit(LIMIT_MS, onExpired)
      socket.once('data', () => {
        limit.clear()
        resolve(now())
      })
    })
    const begin = now()
    // The bytes are in the kernel when `write` returns, and Node reads them after the stall only.
    peer.write('answer')
    stall(STALL_MS)
    expect((await answered) - begin).toBeGreaterThanOrEqual(STALL_MS - 10)
    await new Promise((resolve) => setTimeout(resolve, LIMIT_MS + 50))
    expect(onExpired).not.toHaveBeenCalled()
  })

  test('expires once and late when nothing answers: after the stall it has its time again', async () => {
    await connected()
    const onExpired = vi.fn()
    const begin = now()
    const expired = new Promise<number>((resolve) => {
      new TimeLimit(LIMIT_MS, () => {
        onExpired()
        resolve(now())
      })
    })
    stall(STALL_MS)
    const elapsedMs = (await expired) - begin
    expect(elapsedMs).toBeGreaterThanOrEqual(STALL_MS + LIMIT_MS - 10)
    expect(elapsedMs).toBeLessThan(STALL_MS + LIMIT_MS + 2000)
    expect(onExpired).toHaveBeenCalledTimes(1)
  })
})
