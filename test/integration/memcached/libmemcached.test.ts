import { afterEach, describe, expect, test } from 'vitest'
import { createClient, type MemcachedClient } from '../../../src/memcached/index.js'
import { nodes } from '../../cluster/index.js'
import { runOrThrow } from '../../cluster/process.js'

/** Weights that differ, so that the default mapping would not do. */
const servers = nodes('memcached').map(({ host, port }, i) => ({ host, port, weight: [1, 5, 2, 9][i] ?? 1 }))
const clients: MemcachedClient[] = []

let counter = 0
const fresh = (): string => `libmemcached:${process.pid}:${Date.now()}:${(counter += 1)}`

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
})

function connect(compat: 'libmemcached' | 'pymemcache'): MemcachedClient {
  const given = compat === 'libmemcached' ? servers : servers.map(({ host, port }) => ({ host, port }))
  const client = createClient({ servers: given, env: {}, compat, operationTimeoutMs: 1000 })
  clients.push(client)
  return client
}

/** Runs a Python program with `cache`, a libmemcached client with weighted ketama. */
async function python(program: string, input: unknown): Promise<unknown> {
  const list = servers.map(({ host, port, weight }) => `'${host}:${port}:${weight}'`).join(', ')
  const source = `
import json, sys
import pylibmc
given = json.load(sys.stdin)
cache = pylibmc.Client([${list}], behaviors={'ketama_weighted': True})
${program}`
  return JSON.parse(await runOrThrow('/usr/bin/python3', ['-c', source], { input: JSON.stringify(input) })) as unknown
}

describe("libmemcached's weighted ketama", () => {
  test('each finds what the other wrote, on the same nodes', async () => {
    const base = fresh()
    const ours = Array.from({ length: 200 }, (_, i) => `${base}:ours:${i}`)
    const theirs = Array.from({ length: 200 }, (_, i) => `${base}:theirs:${i}`)
    const client = connect('libmemcached')
    await client.setMany(new Map(ours.map((key) => [key, `value of ${key}`])))
    const program = `
found = [cache.get(key) for key in given['ours']]
for key in given['theirs']:
    cache.set(key, 'value of ' + key)
print(json.dumps(found))`
    await expect(python(program, { ours, theirs })).resolves.toEqual(ours.map((key) => `value of ${key}`))
    await expect(client.getMany(theirs)).resolves.toEqual(new Map(theirs.map((key) => [key, `value of ${key}`])))
    // Another mapping finds only what happens to be on the same nodes: the test can tell.
    expect((await connect('pymemcache').getMany(theirs)).size).toBeLessThan(150)
  })
})
