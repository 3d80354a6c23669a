import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Liveness } from '../../../src/amqp/liveness.js'
import type { Session } from '../../../src/amqp/session.js'
import { stubHost, stubSession, type StubChannel, type StubConnection } from '../../helpers/stub-amqp.js'

const never = (): Promise<unknown> => new Promise(() => undefined)
const HEARTBEAT_MS = 10_000

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

async function setUp(isWaiting: () => boolean): Promise<{
  own: { session: Session; connection: StubConnection }
  other: { session: Session; connection: StubConnection }
  watch: Liveness
}> {
  const host = stubHost('h1')
  const [own, other] = [await stubSession(host), await stubSession(host)]
  const watch = new Liveness(
    [
      { session: () => (own.session.isOpen ? own.session : undefined), isWaiting },
      { session: () => (other.session.isOpen ? other.session : undefined), isWaiting: () => false },
    ],
    HEARTBEAT_MS,
  )
  watch.start()
  return { own, other, watch }
}

const silence = (connection: StubConnection): void => {
  for (const channel of connection.channels) channel.prefetch = never
}

describe('the watch over connections', () => {
  test('cuts both connections to a host that answers neither them nor a probe, within 2.5 s', async () => {
    const { own, other, watch } = await setUp(() => true)
    silence(other.connection)
    await vi.advanceTimersByTimeAsync(2500)
    expect([own.session.isOpen, other.session.isOpen]).toEqual([false, false])
    expect(own.session.ending.value).toMatchObject({ code: 'HA_CONNECTION_LOST' })
    expect(own.session.detectedMs).toBeGreaterThan(1500)
    watch.stop()
  })

  test('asks on the other connection, and believes the answer', async () => {
    const { own, other, watch } = await setUp(() => true)
    silence(own.connection)
    const probe = vi.fn(() => Promise.resolve())
    ;(other.connection.channels[0] as StubChannel).prefetch = probe
    const beats = setInterval(() => {
      own.connection.bytes.bytesRead += 8
      other.connection.bytes.bytesRead += 8
    }, 5000)
    await vi.advanceTimersByTimeAsync(30_000)
    expect(own.session.isOpen).toBe(true)
    expect(probe).toHaveBeenCalled()
    clearInterval(beats)
    watch.stop()
  })

  test('leaves a connection alone that receives something', async () => {
    const { own, other, watch } = await setUp(() => true)
    silence(other.connection)
    const traffic = setInterval(() => {
      own.connection.bytes.bytesRead += 1
      other.connection.bytes.bytesRead += 1
    }, 500)
    await vi.advanceTimersByTimeAsync(20_000)
    expect(own.session.isOpen).toBe(true)
    clearInterval(traffic)
    watch.stop()
  })

  test('takes a large message on its way for life', async () => {
    const { own, other, watch } = await setUp(() => true)
    silence(other.connection)
    own.connection.bytes.writableLength = 1_000_000
    const sending = setInterval(() => {
      own.connection.bytes.bytesWritten += 1000
    }, 100)
    await vi.advanceTimersByTimeAsync(5000)
    expect(own.session.isOpen).toBe(true)
    clearInterval(sending)
    watch.stop()
  })

  test('asks nothing for a blocked connection that waits', async () => {
    const { own, other, watch } = await setUp(() => true)
    own.connection.emit('blocked', 'memory')
    silence(other.connection)
    await vi.advanceTimersByTimeAsync(5000)
    expect(own.session.isOpen).toBe(true)
    watch.stop()
  })

  test('probes an idle connection once per heartbeat, and gives it up when nobody answers', async () => {
    const { own, other, watch } = await setUp(() => false)
    silence(own.connection)
    silence(other.connection)
    await vi.advanceTimersByTimeAsync(9000)
    expect(own.session.isOpen).toBe(true)
    await vi.advanceTimersByTimeAsync(3000)
    expect([own.session.isOpen, other.session.isOpen]).toEqual([false, false])
    watch.stop()
  })

  test('gives up one silent connection of a host that lives', async () => {
    const { own, other, watch } = await setUp(() => true)
    const beats = setInterval(() => {
      other.connection.bytes.bytesRead += 8
    }, 5000)
    await vi.advanceTimersByTimeAsync(17_000)
    expect([own.session.isOpen, other.session.isOpen]).toEqual([false, true])
    clearInterval(beats)
    watch.stop()
  })
})
