import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { DriverTarget } from '../../src/amqp/driver.js'
import { HostBook } from '../../src/amqp/hosts.js'
import { createTransport, type AmqpTransport } from '../../src/amqp/index.js'
import { now } from '../../src/core/timing.js'
import { StubConnection } from '../helpers/stub-amqp.js'
import { useFakeTime } from '../unit/core/fake-time.js'

const CLIENTS = 1000
const GROUP = 50
const HOSTS = ['10.0.0.1', '10.0.0.2', '10.0.0.3']
const addresses = HOSTS.map((host) => ({ endpoint: { host, port: 1 }, username: 'u', password: 'p' }))
const ignore = { onUp: () => undefined, onDown: () => undefined, onRefused: () => undefined }

/** The network of the simulation: hosts that are down refuse. */
const network = vi.hoisted(() => ({
  down: new Set<string>(),
  attempts: [] as { readonly host: string; readonly at: number }[],
  connections: new Map<string, Set<{ emit(event: string, detail?: unknown): boolean }>>(),
}))

vi.mock(import('../../src/amqp/driver.js'), async (original) => ({
  ...(await original()),
  openConnection: ({ address }: DriverTarget) => {
    network.attempts.push({ host: address, at: now() })
    if (network.down.has(address)) return Promise.reject(new Error('connect ECONNREFUSED'))
    const connection = new StubConnection()
    const known = network.connections.get(address) ?? new Set()
    network.connections.set(address, known.add(connection))
    return Promise.resolve(connection)
  },
}))

let transports: AmqpTransport[] = []

beforeEach(useFakeTime)

afterEach(() => {
  reset()
  vi.useRealTimers()
})

function reset(): void {
  for (const transport of transports) transport.destroy()
  transports = []
  network.down.clear()
  network.attempts.length = 0
  network.connections.clear()
}

async function start(count: number, reconnectSplayMs: number): Promise<void> {
  transports = Array.from({ length: count }, () => createTransport({ hosts: HOSTS, env: {}, reconnectSplayMs }))
  await vi.advanceTimersByTimeAsync(2000)
  network.attempts.length = 0
}

function crash(host: string): number {
  network.down.add(host)
  const lost = [...(network.connections.get(host) ?? [])]
  network.connections.delete(host)
  for (const connection of lost) connection.emit('error', new Error('read ECONNRESET'))
  return lost.length
}

/** Times of all attempts of so many clients, from the loss of the broker on that had all their connections. */
async function attemptsAfterLoss(clients: number): Promise<readonly { readonly host: string; readonly at: number }[]> {
  const [lost = '', ...others] = HOSTS
  // As after the restart of the two others.
  for (const host of others) network.down.add(host)
  await start(clients, 1000)
  network.down.clear()
  const lostAt = now()
  expect(crash(lost)).toBe(2 * clients)
  await vi.advanceTimersByTimeAsync(3000)
  for (const transport of transports) {
    const { publisher, consumer } = transport.status().connections
    expect(publisher.host).toBe(consumer.host)
  }
  return network.attempts.map(({ host, at }) => ({ host, at: at - lostAt }))
}

test(
  '1,000 clients that lose one broker, all three connections counted: at most 15 % of the attempts in any 100 ms',
  { timeout: 90_000 },
  async () => {
    const attempts: { readonly host: string; readonly at: number }[] = []
    // Clients know nothing of each other: they are simulated in groups, because many fake timers are slow.
    for (let group = 0; group < CLIENTS / GROUP; group += 1) {
      attempts.push(...(await attemptsAfterLoss(GROUP)))
      reset()
    }
    // One attempt for each connection: nobody asks the dead one first, and the one that stands by goes elsewhere.
    expect(attempts).toHaveLength(3 * CLIENTS)
    expect(Math.max(...attempts.map(({ at }) => at))).toBeLessThanOrEqual(1010)
    const busiest = Math.max(
      ...attempts.map(({ at: begin }) => attempts.filter(({ at }) => at >= begin && at < begin + 100).length),
    )
    console.log(
      `busiest 100 ms: ${((100 * busiest) / attempts.length).toFixed(1)} % of ${String(attempts.length)} attempts`,
    )
    expect(busiest / attempts.length).toBeLessThanOrEqual(0.15)
    const second = attempts.filter(({ host }) => host === HOSTS[1]).length
    expect(Math.abs(second - 1.5 * CLIENTS)).toBeLessThan(300)
  },
)

test('a client without any broker dials each at most 50 times a minute, for ever', async () => {
  await start(1, 100)
  for (const host of HOSTS) crash(host)
  for (let minute = 0; minute < 10; minute += 1) {
    network.attempts.length = 0
    await vi.advanceTimersByTimeAsync(60_000)
    for (const host of HOSTS) {
      const dials = network.attempts.filter((attempt) => attempt.host === host).length
      expect(dials).toBeGreaterThan(10)
      expect(dials).toBeLessThanOrEqual(50)
    }
  }
})

test('1,000 clients that lose a host spread over the other two', () => {
  const counts = new Map<string, number>()
  for (let i = 0; i < CLIENTS; i += 1) {
    const book = new HostBook(addresses, 'shuffle', ignore)
    const [lost] = book.hosts
    const first = book.order(lost, undefined)[0]?.endpoint.host ?? ''
    counts.set(first, (counts.get(first) ?? 0) + 1)
  }
  expect(counts.get('10.0.0.1')).toBeUndefined()
  // Six standard deviations of a fair coin.
  for (const host of HOSTS.slice(1)) expect(Math.abs((counts.get(host) ?? 0) - CLIENTS / 2)).toBeLessThan(95)
})

test('whatever happened before, an order names every host once and the lost one last', () => {
  const event = fc.record({ is: fc.constantFrom('failed', 'connected', 'lost'), host: fc.nat({ max: 2 }) })
  fc.assert(
    fc.property(
      fc.array(event),
      fc.nat({ max: 2 }),
      fc.constantFrom('shuffle', 'round-robin'),
      (events, lost, strategy) => {
        const book = new HostBook(addresses, strategy, ignore)
        for (const { is, host } of events) {
          const named = book.hosts[host] as (typeof book.hosts)[number]
          if (is === 'failed') book.attemptFailed(named, new Error('x'))
          else if (is === 'connected') book.connected(named)
          else book.order(named, undefined)
        }
        const last = book.hosts[lost] as (typeof book.hosts)[number]
        const order = book.order(last, undefined)
        expect([...order].sort((a, b) => a.name.localeCompare(b.name))).toEqual(book.hosts)
        expect(order.at(-1)).toBe(last)
      },
    ),
  )
})
