import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ClosedError } from '../../src/core/errors.js'
import { dialOrder, Reconnector } from '../../src/core/reconnector.js'
import { now } from '../../src/core/timing.js'
import { useFakeTime } from '../unit/core/fake-time.js'

interface Host {
  readonly endpoint: { readonly host: string; readonly port: number }
}

beforeEach(useFakeTime)

afterEach(() => {
  vi.useRealTimers()
})

const hostList = (count: number): readonly Host[] =>
  Array.from({ length: count }, (_, i) => ({ endpoint: { host: `h${String(i)}`, port: 1 } }))

/** How one dial goes; a driver that is `deaf` does not honour its signal. */
const dialPlan = fc.record({
  answer: fc.constantFrom('up', 'down', 'silent'),
  afterMs: fc.integer({ min: 0, max: 1500 }),
  isDeaf: fc.boolean(),
})
type DialPlan = typeof dialPlan extends fc.Arbitrary<infer P> ? P : never

/** Answers as planned; counts connections that are open, and those that were given up. */
class FakeNetwork {
  readonly open = new Set<number>()
  readonly dials: number[] = []
  readonly #plans: readonly DialPlan[]

  constructor(plans: readonly DialPlan[]) {
    this.#plans = plans
  }

  dial(signal: AbortSignal): Promise<number> {
    const id = this.dials.push(now())
    const plan = this.#plans[(id - 1) % this.#plans.length] ?? { answer: 'down', afterMs: 0, isDeaf: false }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        if (plan.answer === 'silent') return
        if (plan.answer === 'down') {
          reject(new Error('refused'))
          return
        }
        this.open.add(id)
        resolve(id)
      }, plan.afterMs)
      signal.addEventListener('abort', () => {
        if (plan.isDeaf || this.open.has(id)) return
        clearTimeout(timer)
        reject(signal.reason as Error)
      })
    })
  }
}

describe('Reconnector', () => {
  test('leaves at most one connection open, whatever the hosts do and whenever it is closed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(dialPlan, { minLength: 1, maxLength: 8 }),
        fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 4 }),
        async (count, plans, livesMs) => {
          const network = new FakeNetwork(plans)
          const hosts = hostList(count)
          let held = 0
          const reconnector = new Reconnector<Host, number>({
            dial: (_, signal) => network.dial(signal),
            discard: (id) => network.open.delete(id),
            order: (last) => dialOrder(hosts, last, 'shuffle'),
            connectTimeoutMs: 1000,
            hedgeMs: 300,
            splayMs: 100,
            roundDelay: () => 500,
            onAttemptFailed: () => undefined,
          })
          for (const lifeMs of livesMs) {
            const connecting = reconnector.connect().then(({ connection }) => {
              held = connection
            })
            connecting.catch(() => undefined)
            await vi.advanceTimersByTimeAsync(lifeMs)
            if (held === 0) continue
            // Losers that were already on their way may still arrive, and must then be discarded.
            await vi.advanceTimersByTimeAsync(2000)
            expect([...network.open]).toEqual([held])
            network.open.delete(held)
            held = 0
          }
          const last = reconnector.connect().catch((error: unknown) => error)
          reconnector.close()
          const end = await last
          await vi.advanceTimersByTimeAsync(5000)
          if (end instanceof ClosedError) network.open.delete(held)
          else network.open.delete((end as { connection: number }).connection)
          expect(network.open.size).toBe(0)
          expect(vi.getTimerCount()).toBe(0)
        },
      ),
      { numRuns: 60 },
    )
  })

  test('dials a dead list no more often than the pauses between rounds allow', async () => {
    const plans = fc.array(
      dialPlan.map((plan) => ({ ...plan, answer: plan.answer === 'up' ? 'down' : plan.answer })),
      { minLength: 1, maxLength: 6 },
    )
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        plans,
        fc.integer({ min: 100, max: 2000 }),
        async (count, plan, pauseMs) => {
          const network = new FakeNetwork(plan)
          const hosts = hostList(count)
          const reconnector = new Reconnector<Host, number>({
            dial: (_, signal) => network.dial(signal),
            discard: () => undefined,
            order: (last) => dialOrder(hosts, last, 'shuffle'),
            connectTimeoutMs: 1000,
            hedgeMs: 300,
            splayMs: 0,
            roundDelay: () => pauseMs,
            onAttemptFailed: () => undefined,
          })
          const connecting = reconnector.connect()
          connecting.catch(() => undefined)
          await vi.advanceTimersByTimeAsync(10_000)
          reconnector.close()
          await expect(connecting).rejects.toBeInstanceOf(ClosedError)
          // Within any span of n pauses there are at most n + 2 rounds of `count` dials.
          const spanMs = 5 * pauseMs
          for (const begin of network.dials) {
            const within = network.dials.filter((at) => at >= begin && at < begin + spanMs).length
            expect(within).toBeLessThanOrEqual(count * 7)
          }
          await vi.advanceTimersByTimeAsync(2000)
          expect(vi.getTimerCount()).toBe(0)
        },
      ),
      { numRuns: 40 },
    )
  })

  test(
    '1,000 clients that lose one broker do not come back at once: at most 15 % in any 100 ms',
    { timeout: 90_000 },
    async () => {
      const hosts = hostList(3)
      const attempts: number[] = []
      const clients = Array.from(
        { length: 1000 },
        () =>
          new Reconnector<Host, number>({
            dial: () => Promise.resolve(attempts.push(now())),
            discard: () => undefined,
            order: (last) => dialOrder(hosts, last, 'shuffle'),
            connectTimeoutMs: 1000,
            hedgeMs: 300,
            splayMs: 1000,
            roundDelay: () => 1000,
            onAttemptFailed: () => undefined,
          }),
      )
      const connectAll = async (): Promise<void> => {
        const all = Promise.all(clients.map((client) => client.connect()))
        await vi.advanceTimersByTimeAsync(2500)
        await all
      }
      await connectAll()
      attempts.length = 0
      const lostAt = now()
      await connectAll()
      expect(attempts).toHaveLength(1000)
      expect(Math.max(...attempts) - lostAt).toBeLessThanOrEqual(1010)
      for (const begin of attempts) {
        expect(attempts.filter((at) => at >= begin && at < begin + 100).length).toBeLessThanOrEqual(150)
      }
    },
  )
})
