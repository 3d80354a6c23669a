import { once } from 'node:events'
import { expect } from 'vitest'
import { createClient, type MemcachedClient, type MemcachedOptions, type NodeState } from '../../src/memcached/index.js'
import { FakeMemcached } from './fake-memcached.js'

const open: { end(): unknown }[] = []

/** Ends what the helpers made; for `afterEach`. */
export async function endAll(): Promise<void> {
  await Promise.all(open.splice(0).map((one) => one.end()))
}

/** With `hosts`, all on the port that the first one got. */
export async function startFakes(count: number, hosts?: readonly string[]): Promise<FakeMemcached[]> {
  const first = await FakeMemcached.start(hosts?.[0])
  const port = hosts === undefined ? 0 : first.port
  const others = Array.from({ length: count - 1 }, (_, i) => FakeMemcached.start(hosts?.[i + 1], port))
  const fakes = [first, ...(await Promise.all(others))]
  for (const fake of fakes) open.push({ end: () => fake.crash() })
  return fakes
}

/** A client that has reached all of its nodes. */
export async function connect(
  fakes: readonly FakeMemcached[],
  options: MemcachedOptions = {},
): Promise<MemcachedClient> {
  const client = createClient({ servers: fakes.map(({ name }) => name), env: {}, probeIntervalMs: 20, ...options })
  open.push({ end: () => client.destroy() })
  await expect
    .poll(() => client.status().hosts.map(({ state }) => state), { timeout: 10_000 })
    .toEqual(fakes.map(() => 'live'))
  return client
}

export function stateOf(client: MemcachedClient, node: number): NodeState | undefined {
  return client.status().hosts[node]?.state
}

export async function becomes(client: MemcachedClient, node: number, state: NodeState): Promise<void> {
  await expect.poll(() => stateOf(client, node), { timeout: 10_000, interval: 5 }).toBe(state)
}

/** The payload of the next event. */
export async function next(
  client: MemcachedClient,
  event: 'hostUp' | 'hostDown' | 'failover' | 'outageStart' | 'outageEnd',
): Promise<unknown> {
  const [payload] = (await once(client as unknown as NodeJS.EventEmitter, event)) as [unknown]
  return payload
}

/** Elapsed milliseconds of something that settles in any way. */
export async function timed(work: Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work.catch(() => undefined)
  return performance.now() - startedAt
}
