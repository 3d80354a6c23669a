import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ClosedError, ConnectError, TimeoutError } from '../../../src/core/errors.js'
import { dialOrder, Reconnector, type Connected, type ReconnectorOptions } from '../../../src/core/reconnector.js'
import { now } from '../../../src/core/timing.js'
import { useFakeTime } from './fake-time.js'

interface Host {
  readonly endpoint: { readonly host: string; readonly port: number }
}

type Answer = 'up' | 'down' | 'silent'
type Found = Connected<Host, string>

const host = (name: string): Host => ({ endpoint: { host: name, port: 1 } })
const [a, b, c] = [host('a'), host('b'), host('c')]
const name = ({ endpoint }: Host): string => endpoint.host

/** A list of hosts whose answers a test changes, with a record of what was done to them. */
function network(options: Partial<ReconnectorOptions<Host, string>> = {}, hosts: readonly Host[] = [a, b, c]) {
  const answers: Record<string, Answer> = {}
  const begin = now()
  const dials: [name: string, atMs: number][] = []
  const aborted: string[] = []
  const discard = vi.fn()
  const onAttemptFailed = vi.fn()
  const order = vi.fn((last: Host | undefined) => dialOrder(hosts, last, 'round-robin'))
  const reconnector = new Reconnector<Host, string>({
    dial: (to, signal) => {
      dials.push([name(to), Math.round(now() - begin)])
      const answer = answers[name(to)] ?? 'up'
      if (answer === 'up') return Promise.resolve(`connection to ${name(to)}`)
      if (answer === 'down') return Promise.reject(new Error('refused'))
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted.push(name(to))
          reject(signal.reason as Error)
        })
      })
    },
    discard,
    order,
    connectTimeoutMs: 3000,
    hedgeMs: 300,
    splayMs: 0,
    roundDelay: (round) => 1000 * round,
    onAttemptFailed,
    random: () => 0.5,
    ...options,
  })
  const dialled = (): readonly string[] => dials.map(([to]) => to)
  return { answers, dials, dialled, aborted, discard, onAttemptFailed, order, reconnector }
}

/** The outcome of a promise as a value, so that a rejection is never unhandled. */
const outcome = (connecting: Promise<Found>): Promise<Found | Error> =>
  connecting.catch((error: unknown) => error as Error)

async function settled(connecting: Promise<Found>, withinMs = 60_000): Promise<Found | Error> {
  const result = outcome(connecting)
  await vi.advanceTimersByTimeAsync(withinMs)
  return result
}

beforeEach(useFakeTime)

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

describe('Reconnector', () => {
  test('takes the first host that answers, in order, without a pause for those that refuse', async () => {
    const { reconnector, answers, dials, onAttemptFailed } = network()
    answers['a'] = answers['b'] = 'down'
    expect(await settled(reconnector.connect())).toEqual({ host: c, connection: 'connection to c' })
    expect(dials.map(([to]) => to)).toEqual(['a', 'b', 'c'])
    expect(dials.at(-1)?.[1]).toBeLessThan(10)
    expect(onAttemptFailed.mock.calls).toEqual([
      [a, expect.any(ConnectError)],
      [b, expect.any(ConnectError)],
    ])
    expect(onAttemptFailed.mock.calls[0]?.[1]).toMatchObject({ endpoint: 'a:1', cause: new Error('refused') })
  })

  test('makes one connection for all that ask while it runs, and another one afterwards', async () => {
    const { reconnector, dialled } = network()
    const first = reconnector.connect()
    expect(reconnector.connect()).toBe(first)
    await settled(first)
    expect(dialled()).toEqual(['a'])
    await settled(reconnector.connect())
    expect(dialled()).toEqual(['a', 'b'])
  })

  test('races a silent host after hedgeMs and aborts it when another one answers', async () => {
    const { reconnector, answers, dials, aborted, onAttemptFailed } = network()
    answers['a'] = 'silent'
    expect(await settled(reconnector.connect())).toMatchObject({ host: b })
    expect(dials[1]?.[1]).toBeGreaterThanOrEqual(300)
    expect(dials[1]?.[1]).toBeLessThan(320)
    expect(aborted).toEqual(['a'])
    expect(onAttemptFailed).not.toHaveBeenCalled()
  })

  test('keeps a slow host that answers before the one that races it, whose late connection it discards', async () => {
    const { reconnector, discard } = network({
      dial: (to) => new Promise((resolve) => setTimeout(() => resolve(name(to)), to === a ? 500 : 400)),
    })
    expect(await settled(reconnector.connect())).toEqual({ host: a, connection: 'a' })
    expect(discard.mock.calls).toEqual([['b']])
  })

  test('never aborts the signal of the connection that it gives out', async () => {
    const signals: AbortSignal[] = []
    const { reconnector } = network({
      dial: (to, signal) => {
        signals.push(signal)
        return Promise.resolve(name(to))
      },
    })
    await settled(reconnector.connect())
    reconnector.close()
    expect(signals.map(({ aborted }) => aborted)).toEqual([false])
  })

  test('pauses after a full round only, and longer after each', async () => {
    const { reconnector, answers, dials } = network()
    Object.assign(answers, { a: 'down', b: 'down', c: 'down' })
    const found = outcome(reconnector.connect())
    await vi.advanceTimersByTimeAsync(3500)
    answers['c'] = 'up'
    await vi.advanceTimersByTimeAsync(5000)
    expect(await found).toMatchObject({ host: c })
    const rounds = [0, 1, 2, 3].map((round) => dials.slice(round * 3, round * 3 + 3))
    expect(rounds.map((round) => round.map(([to]) => to).join(''))).toEqual(['abc', 'abc', 'abc', 'abc'])
    expect(rounds.map((round) => Math.round((round[0]?.[1] ?? 0) / 1000))).toEqual([0, 1, 3, 6])
    for (const round of rounds) expect((round[2]?.[1] ?? 0) - (round[0]?.[1] ?? 0)).toBeLessThan(20)
  })

  test('waits a random part of the splay after a loss, and not before the first connection', async () => {
    const { reconnector, dials, order } = network({ splayMs: 100 })
    await settled(reconnector.connect(), 2000)
    expect(dials[0]?.[1]).toBeLessThan(5)
    await settled(reconnector.connect(), 2000)
    expect(order).toHaveBeenLastCalledWith(a)
    expect((dials[1]?.[1] ?? 0) - 2000).toBeGreaterThanOrEqual(49)
    expect((dials[1]?.[1] ?? 0) - 2000).toBeLessThan(60)
  })

  test('a host that takes connections and drops them at once earns a pause after as many drops as there are hosts', async () => {
    const { reconnector, dials } = network()
    for (let i = 0; i < 6; i += 1) {
      const found = outcome(reconnector.connect())
      await vi.advanceTimersToNextTimerAsync()
      while (vi.getTimerCount() > 0) await vi.advanceTimersToNextTimerAsync()
      await found
    }
    const pauses = dials.map(([, at], i) => at - (dials[i - 1]?.[1] ?? 0)).map((ms) => Math.round(ms / 1000))
    expect(pauses).toEqual([0, 0, 0, 1, 1, 1])
    await vi.advanceTimersByTimeAsync(1500)
    const begin = now()
    await settled(reconnector.connect(), 100)
    expect(now() - begin).toBeLessThan(200)
    expect(dials).toHaveLength(7)
  })

  test('a connection that was short because its host left the list earns no pause', async () => {
    const { reconnector, dials } = network({ order: () => [a] })
    for (let i = 0; i < 4; i += 1) {
      await settled(reconnector.connect(), 100)
      reconnector.renew()
    }
    expect(dials).toHaveLength(4)
  })

  test('gives up a host that takes longer than connectTimeoutMs, though its driver ignores the signal', async () => {
    const late: (() => void)[] = []
    const { reconnector, discard, onAttemptFailed } = network(
      {
        dial: () =>
          late.length === 0 ? new Promise((resolve) => late.push(() => resolve('late'))) : Promise.resolve('second'),
      },
      [a],
    )
    const found = await settled(reconnector.connect(), 10_000)
    expect(found).toMatchObject({ connection: 'second' })
    expect(onAttemptFailed).toHaveBeenCalledTimes(1)
    expect(onAttemptFailed.mock.calls[0]?.[1]).toMatchObject({
      code: 'HA_CONNECT',
      cause: expect.any(TimeoutError) as Error,
    })
    late[0]?.()
    await vi.advanceTimersByTimeAsync(1)
    expect(discard.mock.calls).toEqual([['late']])
  })

  test('takes a dial that throws for one that rejects', async () => {
    const { reconnector, onAttemptFailed } = network({
      dial: (to) => {
        if (to === a) throw new Error('bad address')
        return Promise.resolve(name(to))
      },
    })
    expect(await settled(reconnector.connect())).toMatchObject({ connection: 'b' })
    expect(onAttemptFailed.mock.calls[0]?.[1]).toMatchObject({ cause: new Error('bad address') })
  })

  test('close() during a dial rejects with ClosedError, aborts the dial and discards a connection that comes late', async () => {
    const late: (() => void)[] = []
    const signals: AbortSignal[] = []
    const { reconnector, discard, onAttemptFailed } = network({
      dial: (_, signal) => {
        signals.push(signal)
        return new Promise((resolve) => late.push(() => resolve('late')))
      },
    })
    const found = outcome(reconnector.connect())
    await vi.advanceTimersByTimeAsync(100)
    const cause = new Error('shutting down')
    reconnector.close(cause)
    expect(await found).toMatchObject({ code: 'HA_CLOSED', cause })
    expect(signals.map(({ aborted }) => aborted)).toEqual([true])
    expect(vi.getTimerCount()).toBe(0)
    late[0]?.()
    await vi.advanceTimersByTimeAsync(1)
    expect(discard.mock.calls).toEqual([['late']])
    expect(onAttemptFailed).not.toHaveBeenCalled()
    await expect(reconnector.connect()).rejects.toBeInstanceOf(ClosedError)
  })

  test('close() in the turn in which a connection arrives discards it', async () => {
    const { reconnector, discard } = network({
      dial: () => {
        queueMicrotask(() => reconnector.close())
        return Promise.resolve('just in time')
      },
    })
    expect(await settled(reconnector.connect())).toBeInstanceOf(ClosedError)
    expect(discard.mock.calls).toEqual([['just in time']])
  })

  test('close() during a pause ends it', async () => {
    const { reconnector, answers } = network()
    Object.assign(answers, { a: 'down', b: 'down', c: 'down' })
    const found = outcome(reconnector.connect())
    await vi.advanceTimersByTimeAsync(500)
    reconnector.close()
    expect(await found).toBeInstanceOf(ClosedError)
  })

  test('an error that cannot mend ends the first connect when every host gave one', async () => {
    const isFatal = (error: Error): boolean => (error.cause as Error).message === 'refused'
    const { reconnector, answers, dialled } = network({ isFatal })
    Object.assign(answers, { a: 'down', b: 'down', c: 'down' })
    expect(await settled(reconnector.connect())).toMatchObject({ code: 'HA_CONNECT', endpoint: 'c:1' })
    expect(dialled()).toEqual(['a', 'b', 'c'])
  })

  test('one host that may mend keeps the loop going, and after a connection nothing ends it', async () => {
    const isFatal = (error: Error): boolean => (error.cause as Error).message === 'refused'
    const { reconnector, answers, dialled } = network({ isFatal })
    Object.assign(answers, { a: 'down', b: 'down', c: 'silent' })
    const first = outcome(reconnector.connect())
    await vi.advanceTimersByTimeAsync(3200)
    answers['a'] = 'up'
    await vi.advanceTimersByTimeAsync(2000)
    expect(await first).toMatchObject({ host: a })
    Object.assign(answers, { a: 'down', b: 'down', c: 'down' })
    const second = outcome(reconnector.connect())
    await vi.advanceTimersByTimeAsync(2000)
    const dialsBefore = dialled().length
    await vi.advanceTimersByTimeAsync(5000)
    expect(dialled().length).toBeGreaterThan(dialsBefore)
    reconnector.close()
    expect(await second).toBeInstanceOf(ClosedError)
  })

  test('leaves no listener on its own signal, however many rounds it takes', async () => {
    const add = vi.spyOn(AbortSignal.prototype, 'addEventListener')
    const remove = vi.spyOn(AbortSignal.prototype, 'removeEventListener')
    const { reconnector, answers } = network({ roundDelay: () => 10 })
    Object.assign(answers, { a: 'down', b: 'down', c: 'down' })
    const found = outcome(reconnector.connect())
    await vi.advanceTimersByTimeAsync(1000)
    expect(add.mock.calls.length).toBeGreaterThan(50)
    // At most the pause that is under way.
    expect(add.mock.calls.length - remove.mock.calls.length).toBeLessThanOrEqual(1)
    reconnector.close()
    await found
    vi.restoreAllMocks()
  })
})

describe('dialOrder()', () => {
  test('round-robin starts after the host that was lost, which comes last', () => {
    expect(dialOrder([a, b, c], undefined, 'round-robin')).toEqual([a, b, c])
    expect(dialOrder([a, b, c], a, 'round-robin')).toEqual([b, c, a])
    expect(dialOrder([a, b, c], c, 'round-robin')).toEqual([a, b, c])
    expect(dialOrder([a, b, c], host('gone'), 'round-robin')).toEqual([a, b, c])
  })

  test('shuffle puts the host that was lost last and forgets none', () => {
    for (let i = 0; i < 50; i += 1) {
      const order = dialOrder([a, b, c], b, 'shuffle')
      expect(order.at(-1)).toBe(b)
      expect(new Set(order)).toEqual(new Set([a, b, c]))
    }
    expect(new Set(dialOrder([a, b, c], undefined, 'shuffle'))).toEqual(new Set([a, b, c]))
    expect(dialOrder([a, b], host('gone'), 'shuffle')).toHaveLength(2)
  })

  test('shuffle puts every other host first about equally often', () => {
    const first = { b: 0, c: 0 }
    for (let i = 0; i < 2000; i += 1) first[name(dialOrder([a, b, c], a, 'shuffle')[0] as Host) as 'b' | 'c'] += 1
    expect(first.b).toBeGreaterThan(800)
    expect(first.c).toBeGreaterThan(800)
  })
})
