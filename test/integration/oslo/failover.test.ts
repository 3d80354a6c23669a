import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { RpcTimeoutError, type AmqpTransport, type RpcClient, type RpcServer } from '../../../src/amqp/index.js'
import { blackhole, freeze, kill } from '../../cluster/index.js'
import { CLIENT_ADDRESS, mend, nodeInUse, openTransport, uniqueName } from '../amqp/broker.js'

const CALLERS = 8
const LIMIT_MS = 20_000
const POLL = { timeout: 60_000, interval: 20 }
/** What the package promises is 500 ms for a crash and 3 s for silence; a slow machine gets more. */
const SLOW_ALLOWANCE_MS = 3000

let client: AmqpTransport
let server: AmqpTransport
let serving: RpcServer
let caller: RpcClient
let executed: Map<number, number>

beforeEach(async () => {
  const [topic, exchange] = [uniqueName('failover'), uniqueName('exchange')]
  const options = { rabbitQuorumQueue: true, controlExchange: exchange }
  client = openTransport(options)
  // From another address, so that a blackhole hits the client alone; and not to the node that is hit.
  server = openTransport({ ...options, localAddress: '127.0.9.22' })
  await Promise.all([client.ready(), server.ready()])
  while (nodeInUse(server) === nodeInUse(client)) {
    await server.close()
    server = openTransport({ ...options, localAddress: '127.0.9.22' })
    await server.ready()
  }
  executed = new Map()
  const echo = (_: unknown, { value }: { value: number }): number => {
    executed.set(value, (executed.get(value) ?? 0) + 1)
    return value
  }
  serving = await server.rpcServer({ topic, server: 's' }, { echo })
  caller = client.rpcClient({ topic })
})

afterEach(async () => {
  await Promise.all([client.close(), server.close()])
  await mend()
})

/** Callers that call and call, and what became of it. */
class Callers {
  readonly errors: unknown[] = []
  okCount = 0
  longestGapMs = 0
  #isOn = true
  #count = 0
  #lastAt = performance.now()
  readonly #work: Promise<void>[]

  constructor(idempotent: boolean) {
    this.#work = Array.from({ length: CALLERS }, () => this.#call(idempotent))
  }

  restartGap(): void {
    this.longestGapMs = 0
    this.#lastAt = performance.now()
  }

  async more(count: number): Promise<void> {
    const goal = this.okCount + count
    await expect.poll(() => this.okCount, POLL).toBeGreaterThan(goal)
  }

  async stop(): Promise<void> {
    this.#isOn = false
    await Promise.all(this.#work)
  }

  async #call(idempotent: boolean): Promise<void> {
    while (this.#isOn) {
      const value = (this.#count += 1)
      try {
        expect(await caller.call({}, 'echo', { value }, { timeoutMs: LIMIT_MS, idempotent })).toBe(value)
        const at = performance.now()
        this.okCount += 1
        this.longestGapMs = Math.max(this.longestGapMs, at - this.#lastAt)
        this.#lastAt = at
      } catch (error) {
        this.errors.push(error)
      }
    }
  }
}

describe.each<[string, number, (n: number) => Promise<void>]>([
  ['a crash', 500, (n) => kill('rabbit', n)],
  ['a freeze', 3000, (n) => freeze('rabbit', n)],
  ['packets of this client that are dropped', 3000, (n) => blackhole('rabbit', n, { from: CLIENT_ADDRESS })],
])('%s of the node that a caller uses', (what, limitMs, fault) => {
  test('costs idempotent calls a pause and no error, and no method runs twice for one', async () => {
    const callers = new Callers(true)
    await callers.more(50)
    callers.restartGap()
    await fault(nodeInUse(client))
    await callers.more(30)
    await callers.stop()
    console.log(
      `${what}: pause ${callers.longestGapMs.toFixed(0)} ms, ${String(serving.status().duplicates)} copies dropped`,
    )
    expect(callers.errors).toEqual([])
    expect(callers.longestGapMs).toBeLessThan(limitMs + SLOW_ALLOWANCE_MS)
    expect([...executed.values()].every((times) => times === 1)).toBe(true)
  })

  test('ends other calls that were in flight at their limit, as perhaps executed, and no others', async () => {
    const callers = new Callers(false)
    await callers.more(50)
    await fault(nodeInUse(client))
    await callers.more(20)
    await callers.stop()
    expect(callers.errors.length).toBeLessThanOrEqual(CALLERS)
    for (const error of callers.errors) {
      expect(error).toBeInstanceOf(RpcTimeoutError)
      expect(error).toMatchObject({ maybeExecuted: true, safeToRetry: false })
    }
    expect([...executed.values()].every((times) => times === 1)).toBe(true)
  })
})

test('a call to a server that is gone fails at its limit, not before and not after', async () => {
  await caller.call({}, 'echo', { value: 0 })
  await serving.close()
  const startedAt = performance.now()
  const call = caller.call({}, 'echo', { value: 1 }, { timeoutMs: 1500 })
  await expect(call).rejects.toMatchObject({ name: 'RpcTimeoutError', maybeExecuted: true })
  const elapsedMs = performance.now() - startedAt
  expect(elapsedMs).toBeGreaterThanOrEqual(1499)
  expect(elapsedMs).toBeLessThan(1500 + 500)
})
