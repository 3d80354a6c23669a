import { once } from 'node:events'
import { connect as connectTo, createServer, type AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { createClient, type MemcachedClient, type MemcachedOptions } from '../../../src/memcached/index.js'
import { Servers, type Access } from './servers.js'
import { Traffic, type Seen } from './traffic.js'

const COUNT = 3
const VICTIM = 1
const OPERATION_TIMEOUT_MS = 300

const clients: MemcachedClient[] = []
const started: { stop(): Promise<unknown> }[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy()
  await Promise.all(started.splice(0).map((servers) => servers.stop()))
})

async function start(access: Access, count = COUNT): Promise<Servers> {
  const servers = await Servers.start(access, count)
  started.push(servers)
  return servers
}

function client(options: MemcachedOptions): MemcachedClient {
  const made = createClient({ operationTimeoutMs: OPERATION_TIMEOUT_MS, connectTimeoutMs: 1000, ...options })
  clients.push(made)
  return made
}

const states = (of: MemcachedClient): string[] => of.status().hosts.map(({ state }) => state)

async function allLive(of: MemcachedClient): Promise<void> {
  await expect.poll(() => states(of), { timeout: 20_000 }).toEqual(states(of).map(() => 'live'))
}

function expectClean({ stale, errors, longestMs, hitCount }: Seen): void {
  expect(stale).toEqual([])
  expect(errors).toEqual([])
  expect(longestMs).toBeLessThan(3 * OPERATION_TIMEOUT_MS + 100)
  expect(hitCount).toBeGreaterThan(0)
}

/** Each way to a server, with each protocol that it allows: all pass the same tests. */
const ways: [string, Access, MemcachedOptions][] = [
  ['the meta protocol', 'plain', { driver: 'meta' }],
  ['the binary protocol', 'plain', { driver: 'memjs' }],
  ['the meta protocol over TLS', 'TLS', {}],
  ['the binary protocol over TLS', 'TLS', { driver: 'memjs' }],
  ['the meta protocol over a unix socket', 'unix socket', {}],
  ['the binary protocol over a unix socket', 'unix socket', { driver: 'memjs' }],
  ['SASL', 'SASL', {}],
  ['the meta protocol with a password', 'password file', {}],
]

describe.each(ways)('by %s', (_title, access, options) => {
  test('values and commands go to and fro', async () => {
    const cache = client({ ...(await start(access)).options, ...options })
    await cache.set('text', 'clé')
    await cache.set('bytes', Buffer.from([0, 13, 10, 255]))
    await cache.set('large', 'x'.repeat(900_000))
    await expect(cache.getMany(['text', 'bytes', 'none'])).resolves.toEqual(
      new Map<string, unknown>([
        ['text', 'clé'],
        ['bytes', Buffer.from([0, 13, 10, 255])],
      ]),
    )
    await expect(cache.get('large')).resolves.toBe('x'.repeat(900_000))
    await expect(cache.add('text', 'b')).resolves.toBe(false)
    await expect(cache.increment('count', 1, { initial: 7 })).resolves.toBe(7n)
    await expect(cache.increment('count', 2)).resolves.toBe(9n)
    const found = await cache.gets('text')
    await expect(cache.cas('text', 'c', found?.token as NonNullable<typeof found>['token'])).resolves.toBe(true)
    await expect(cache.getOrSet('made', () => [1])).resolves.toEqual([1])
    await expect(cache.get('made')).resolves.toEqual([1])
    expect((await cache.version()).size).toBe(COUNT)
    expect(cache.status().evictionCount).toBe(0)
  })

  test('a node that is killed fails no request, moves only its own keys, and is used again when it is back', async () => {
    const servers = await start(access)
    const cache = client({ ...servers.options, ...options })
    await allLive(cache)
    const keys = Array.from({ length: 500 }, (_, i) => `fixed:${i}`)
    await cache.setMany(new Map(keys.map((key) => [key, key])))
    const alone = client({ ...servers.options, ...options, servers: [servers.names[VICTIM] as string] })
    const own = new Set((await alone.getMany(keys)).keys())
    expect(own.size).toBeGreaterThan(50)

    const traffic = new Traffic(cache, 'traffic')
    await traffic.more(1000)
    const down = once(cache as unknown as NodeJS.EventEmitter, 'hostDown')
    await servers.kill(VICTIM)
    await down
    const found = await cache.getMany(keys)
    expect(keys.filter((key) => found.has(key) === own.has(key))).toEqual([])
    await traffic.more(1000)
    await servers.startOne(VICTIM)
    await allLive(cache)
    await traffic.more(1000)
    expectClean(await traffic.stop())
    expect(cache.status().evictionCount).toBe(1)
    const key = [...own][0] as string
    await cache.set(key, 'again')
    await allLive(alone)
    await expect(alone.get(key)).resolves.toBe('again')
  })

  test('a node that is frozen under traffic and wakes up serves nothing older than what was written since', async () => {
    const servers = await start(access)
    const cache = client({ ...servers.options, ...options })
    const naive = client({ ...servers.options, ...options, rejoin: 'trust' })
    await allLive(cache)
    await allLive(naive)
    const traffic = new Traffic(cache, 'safe')
    const naiveTraffic = new Traffic(naive, 'naive')
    for (let round = 0; round < 3; round += 1) {
      await traffic.more(1500)
      servers.freeze(VICTIM)
      await expect.poll(() => states(cache)[VICTIM], { interval: 10, timeout: 20_000 }).toMatch(/suspect|dead/)
      await traffic.more(1500)
      servers.thaw(VICTIM)
      await allLive(cache)
      await allLive(naive)
    }
    await traffic.more(1000)
    expectClean(await traffic.stop())
    expect(cache.status().evictionCount).toBeGreaterThanOrEqual(3)
    // The same traffic without the protection does read old values: the test can tell.
    expect((await naiveTraffic.stop()).stale.length).toBeGreaterThan(0)
  })
})

describe('a server that wants another password', () => {
  test.each<[Access, MemcachedOptions]>([
    ['SASL', {}],
    ['password file', {}],
  ])('by %s: it is not used, nobody waits for it, and the password is told to nobody', async (access, options) => {
    const servers = await start(access, 1)
    const cache = client({ ...servers.options, ...options, password: 'not the one' })
    await expect(cache.get('a')).rejects.toMatchObject({
      code: expect.stringMatching(/^HA_(NO_ENDPOINT|AUTH)/) as string,
    })
    await expect.poll(() => cache.status().hosts[0]?.lastError).toMatchObject({ code: 'HA_AUTHENTICATION' })
    const error = await cache.ready({ timeoutMs: 10_000 }).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'HA_AUTHENTICATION' })
    expect((error as Error).message).toContain('refused the user or the password')
    expect(JSON.stringify([cache.status(), String(error)])).not.toContain('not the one')
  })

  test('without a password the meta protocol is refused', async () => {
    const servers = await start('password file', 1)
    const cache = client({ servers: servers.names, env: {} })
    await expect(cache.ready()).rejects.toMatchObject({ code: 'HA_AUTHENTICATION' })
    expect(cache.status().hosts[0]?.lastError).toMatchObject({ code: 'HA_AUTHENTICATION' })
  })
})

/** What a server from before the meta protocol says to it; what is binary goes to a real server. */
async function oldServer(target: string): Promise<{ name: string; textCount: () => number }> {
  const [host, port] = target.split(':') as [string, string]
  let textCount = 0
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', (first) => {
      if (first[0] !== 0x80) {
        textCount += 1
        socket.write('ERROR\r\n')
        return
      }
      const real = connectTo({ host, port: Number(port) })
      real.on('error', () => socket.destroy())
      socket.on('close', () => real.destroy())
      real.write(first)
      socket.pipe(real).pipe(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  started.push({ stop: () => Promise.resolve(server.close()) })
  return { name: `127.0.0.1:${(server.address() as AddressInfo).port}`, textCount: () => textCount }
}

test('a server that answers the meta protocol with ERROR is spoken to in the binary one, without an error to anybody', async () => {
  const servers = await start('plain', 1)
  const old = await oldServer(servers.names[0] as string)
  const cache = client({ servers: old.name, env: {} })
  await cache.set('a', { b: 1 })
  await expect(cache.get('a')).resolves.toEqual({ b: 1 })
  await expect(cache.getOrSet('c', () => 'loaded')).resolves.toBe('loaded')
  expect(old.textCount()).toBe(1)
  expect(cache.status()).toMatchObject({ evictionCount: 0, hopCount: 0 })
})

test('a certificate that is not trusted is refused', async () => {
  const servers = await start('TLS', 1)
  const cache = client({ ...servers.options, tls: true })
  await expect(cache.get('a')).rejects.toMatchObject({ code: 'HA_NO_ENDPOINT' })
  expect(cache.status().hosts[0]?.lastError).toMatchObject({ code: 'HA_CONNECT' })
})
