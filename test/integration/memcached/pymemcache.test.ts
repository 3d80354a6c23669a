import { afterEach, describe, expect, test } from 'vitest'
import { createClient, type MemcachedClient, type MemcachedOptions } from '../../../src/memcached/index.js'
import { nodes } from '../../cluster/index.js'
import { runOrThrow } from '../../cluster/process.js'

const names = nodes('memcached').map(({ host, port }) => `${host}:${port}`)
const clients: MemcachedClient[] = []

let counter = 0
const fresh = (): string => `python:${process.pid}:${Date.now()}:${(counter += 1)}`

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
})

function connect(options: MemcachedOptions = {}): MemcachedClient {
  const client = createClient({ servers: names, env: {}, compat: 'pymemcache', operationTimeoutMs: 1000, ...options })
  clients.push(client)
  return client
}

/** Runs a Python program with `cache`, a HashClient of all nodes; resolves with what it gives to `answer`, by JSON. */
async function python(program: string, input: unknown): Promise<unknown> {
  const servers = names.map((name) => `('${name.split(':')[0] as string}', 11211)`).join(', ')
  const source = `
import json, sys, zlib
from pymemcache import serde
from pymemcache.client.hash import HashClient

given = json.load(sys.stdin)
cache = HashClient([${servers}], serde=serde.pickle_serde, timeout=5)

def answer(value):
    print(json.dumps(value))
${program}`
  return JSON.parse(await runOrThrow('/usr/bin/python3', ['-c', source], { input: JSON.stringify(input) })) as unknown
}

describe('pymemcache, with its own mapping of keys to nodes', () => {
  test('reads what this client wrote: each key on its node, each value as what it is', async () => {
    const base = fresh()
    const client = connect()
    const keys = Array.from({ length: 100 }, (_, i) => `${base}:${i}`)
    await client.setMany(new Map(keys.map((key, i) => [key, `value ${i}`])))
    await client.set(`${base}:bytes`, Buffer.from('raw'))
    await client.set(`${base}:json`, { a: [1, 'é'] })
    await client.increment(`${base}:count`, 1, { initial: 5 })
    const program = `
base = given['base']
answer({
    'many': [cache.get(key) for key in given['keys']],
    'bytes': cache.get(base + ':bytes').decode(),
    'isBytes': isinstance(cache.get(base + ':bytes'), bytes),
    'json': json.loads(cache.get(base + ':json')),
    'count': cache.get(base + ':count'),
})`
    await expect(python(program, { base, keys })).resolves.toEqual({
      many: keys.map((_, i) => `value ${i}`),
      bytes: 'raw',
      isBytes: true,
      json: { a: [1, 'é'] },
      count: 5,
    })
  })

  test('writes what this client reads, on the same nodes', async () => {
    const base = fresh()
    const client = connect()
    const keys = Array.from({ length: 100 }, (_, i) => `${base}:${i}`)
    const program = `
base = given['base']
for i, key in enumerate(given['keys']):
    cache.set(key, 'value %d' % i)
cache.set(base + ':text', 'cl\\u00e9')
cache.set(base + ':bytes', b'\\x00\\xff')
cache.set(base + ':int', 42)
cache.set(base + ':big', 2 ** 60)
cache.set(base + ':pickle', {'a': 1})
answer(True)`
    await python(program, { base, keys })
    await expect(client.getMany(keys)).resolves.toEqual(new Map(keys.map((key, i) => [key, `value ${i}`])))
    await expect(client.get(`${base}:text`)).resolves.toBe('clé')
    await expect(client.get(`${base}:bytes`)).resolves.toEqual(Buffer.from([0, 255]))
    await expect(client.get(`${base}:int`)).resolves.toBe(42)
    await expect(client.get(`${base}:big`)).resolves.toBe(2n ** 60n)
    await expect(client.get(`${base}:pickle`)).resolves.toBeInstanceOf(Buffer)
    // The other mapping finds only the keys that happen to be on the same nodes: the test can tell.
    const found = await connect({ compat: 'ketama' }).getMany(keys)
    expect(found.size).toBeLessThan(60)
  })

  test("compresses with zlib under python-memcached's flag: each reads the other's", async () => {
    const key = fresh()
    const client = connect({ compressFromBytes: 100 })
    const text = 'abc '.repeat(1000)
    await client.set(key, text)
    const program = `
from pymemcache.client.base import Client
flags = {}
def deserialize(key, value, flag):
    flags[key] = flag
    return value
raw = HashClient([client.server for client in cache.clients.values()], deserializer=deserialize)
value = zlib.decompress(raw.get(given['key'])).decode()
def serialize(key, value):
    return zlib.compress(value.encode()), 16 + 8
HashClient([client.server for client in cache.clients.values()], serializer=serialize).set(given['key'], value + '!')
answer({'value': value, 'flags': list(flags.values())})`
    await expect(python(program, { key })).resolves.toEqual({ value: text, flags: [24] })
    await expect(client.get(key)).resolves.toBe(`${text}!`)
  })

  test("oslo.cache's mangled keys are found under the key that was mangled", async () => {
    const client = connect()
    const key = `${fresh()} with a space`
    await python(`import hashlib\ncache.set(hashlib.sha1(given.encode()).hexdigest(), 'found')\nanswer(True)`, key)
    await expect(client.get(key)).resolves.toBe('found')
  })
})
