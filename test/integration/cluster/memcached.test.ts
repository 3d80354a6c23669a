import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import {
  blackhole,
  delay,
  down,
  freeze,
  heal,
  kill,
  partition,
  reset,
  start,
  stateDir,
  stop,
  thaw,
  up,
  whole,
} from '../../cluster/index.js'
import { openRaw, output, RawClient, statusOf } from './clients.js'

const VERSION = 'version\r\n'
const ANSWER = /^VERSION/
/** Long enough to tell an answer that never comes from a slow one. */
const SILENCE_MS = 700

afterEach(async () => {
  await heal('memcached')
  await start('memcached')
  await whole('memcached')
})

const faultTable = (): Promise<string> => output('nft', ['list', 'table', 'inet', 'openstack_ha'])

describe('processes', () => {
  test('a killed node refuses connections, and start brings it back empty', async () => {
    using before = await openRaw('memcached', 1)
    expect(await before.ask('set k 0 0 1\r\nv\r\n')).toBe('STORED\r\n')
    await kill('memcached', 1)
    expect(await statusOf('memcached', 1)).toMatchObject({ process: 'dead', pid: undefined, isMember: false })
    using refused = new RawClient('memcached', 1)
    expect(await refused.connected()).toBe('ECONNREFUSED')
    await start('memcached', 1)
    using after = await openRaw('memcached', 1)
    expect(await after.ask('get k\r\n')).toBe('END\r\n')
  })

  test('a stopped node ends by itself and closes its connections', async () => {
    using client = await openRaw('memcached', 2)
    await stop('memcached', 2)
    expect(await client.next()).toMatch(/closed|ECONNRESET/)
    expect((await statusOf('memcached', 2)).process).toBe('dead')
  })

  test('a frozen node accepts connections but does not answer until it is thawed', async () => {
    await freeze('memcached', 3)
    expect((await statusOf('memcached', 3)).process).toBe('frozen')
    using client = await openRaw('memcached', 3)
    expect(await client.ask(VERSION, SILENCE_MS)).toBe('silence')
    await expect(stop('memcached', 3)).rejects.toThrow(/frozen/)
    await thaw('memcached', 3)
    expect(await client.next()).toMatch(ANSWER)
  })

  test('down leaves nothing behind, and up says that it started from nothing', async () => {
    await blackhole('memcached', 1)
    await delay('memcached', 2, 10)
    await down(['memcached'])
    expect(existsSync(join(stateDir(), 'memcached'))).toBe(false)
    expect((await statusOf('memcached', 2)).process).toBe('dead')
    expect(await faultTable()).not.toContain('memcached')
    expect(await up(['memcached'])).toEqual({ started: ['memcached'] })
    expect(await up(['memcached'])).toEqual({ started: [] })
  })
})

describe('network', () => {
  test('a blackhole swallows what is sent, and the connection recovers when it is healed', async () => {
    using client = await openRaw('memcached', 1)
    await blackhole('memcached', 1)
    expect(await client.ask(VERSION, SILENCE_MS)).toBe('silence')
    using late = new RawClient('memcached', 1)
    expect(await late.connected(SILENCE_MS)).toBe('silence')
    expect(await statusOf('memcached', 1)).toMatchObject({ isMember: true, faults: ['blackhole'] })
    await heal('memcached', 1)
    expect(await client.next(15_000)).toMatch(ANSWER)
  })

  test('a blackhole for one source address cuts no other client', async () => {
    using cut = await openRaw('memcached', 1, '127.0.9.1')
    using other = await openRaw('memcached', 1, '127.0.9.2')
    await blackhole('memcached', 1, { from: '127.0.9.1' })
    expect(await cut.ask(VERSION, SILENCE_MS)).toBe('silence')
    expect(await other.ask(VERSION)).toMatch(ANSWER)
  })

  test('a blackhole for one user cuts no other user', async () => {
    const nobody = 65534
    const script = `exec 3<>/dev/tcp/127.0.3.1/11211; echo version >&3; read -r -t 1 -u 3 line; echo "got:$line"`
    const ask = (): Promise<string> => output('timeout', ['3', 'bash', '-c', script], nobody)
    expect(await ask()).toMatch(/^got:VERSION/)
    await blackhole('memcached', 1, { uid: nobody })
    expect(await ask()).not.toMatch(/VERSION/)
    using client = await openRaw('memcached', 1)
    expect(await client.ask(VERSION)).toMatch(ANSWER)
  })

  test('a rejecting blackhole resets old connections and refuses new ones', async () => {
    using client = await openRaw('memcached', 1)
    await blackhole('memcached', 1, { reject: true })
    expect(await client.ask(VERSION)).toBe('ECONNRESET')
    using late = new RawClient('memcached', 1)
    expect(await late.connected()).toBe('ECONNREFUSED')
  })

  test('reset cuts idle connections once', async () => {
    using client = await openRaw('memcached', 1)
    using elsewhere = await openRaw('memcached', 2)
    await reset('memcached', 1)
    expect(await client.next()).toBe('ECONNRESET')
    using again = await openRaw('memcached', 1)
    expect(await again.ask(VERSION)).toMatch(ANSWER)
    expect(await elsewhere.ask(VERSION)).toMatch(ANSWER)
  })

  test('reset reaches the connections of a frozen node', async () => {
    using client = await openRaw('memcached', 4)
    await freeze('memcached', 4)
    await reset('memcached', 4)
    expect(await client.next()).toBe('ECONNRESET')
  })

  test('a delay adds to each way, and a connection through it outlives it', async () => {
    await delay('memcached', 1, 150)
    using client = await openRaw('memcached', 1)
    expect(await roundTripMs(client)).toBeGreaterThanOrEqual(295)
    await delay('memcached', 1, 50)
    const shorter = await roundTripMs(client)
    expect(shorter).toBeGreaterThanOrEqual(95)
    expect((await statusOf('memcached', 1)).faults).toEqual(['delay-50ms'])
    await heal('memcached', 1)
    expect(await roundTripMs(client)).toBeLessThan(95)
    using direct = await openRaw('memcached', 1)
    expect(await roundTripMs(direct)).toBeLessThan(95)
  })

  test('a reset also reaches connections that are delayed', async () => {
    await delay('memcached', 1, 20)
    using client = await openRaw('memcached', 1)
    expect(await client.ask(VERSION)).toMatch(ANSWER)
    await reset('memcached', 1)
    expect(await client.next()).toBe('ECONNRESET')
  })

  test('heal of one node leaves the fault of another, and the last heal removes the table', async () => {
    await blackhole('memcached', 1)
    await blackhole('memcached', 2)
    await heal('memcached', 1)
    expect((await statusOf('memcached', 1)).faults).toEqual([])
    expect((await statusOf('memcached', 2)).faults).toEqual(['blackhole'])
    await heal('memcached')
    expect(await faultTable()).not.toContain('memcached')
  })

  test('a partition of memcached is refused: the servers do not know each other', async () => {
    await expect(partition('memcached', 1)).rejects.toThrow(/nothing to partition/)
  })
})

/** The best of three, so that a busy machine does not count as a delay. */
async function roundTripMs(client: RawClient): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < 3; i += 1) {
    const begin = performance.now()
    expect(await client.ask(VERSION)).toMatch(ANSWER)
    times.push(performance.now() - begin)
  }
  return Math.min(...times)
}
