import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { heal } from '../../cluster/index.js'
import { clusterCommand as cli, openRaw, output, statusOf } from './clients.js'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const npm = (...args: string[]): Promise<string> =>
  output('npm', ['--prefix', ROOT, 'run', '--silent', 'cluster', '--', ...args])

test('status prints processes, roles, parameters and faults', async () => {
  await cli('blackhole', 'memcached', '4', '--from', '127.0.9.1')
  const text = await npm('status', 'memcached')
  await cli('heal', 'memcached', '4')
  expect(text).toMatch(/memcached: whole/)
  expect(text).toMatch(/127\.0\.3\.1:11211 {2}pid \d+ {2}running {2}version/)
  expect(text).toMatch(/127\.0\.3\.4:11211.*FAULT blackhole-from-127\.0\.9\.1/)
  expect((await statusOf('memcached', 4)).faults).toEqual([])
})

test('a delay outlives the command that asked for it', async () => {
  try {
    await cli('delay', 'memcached', '4', '100')
    using client = await openRaw('memcached', 4)
    const begin = performance.now()
    expect(await client.ask('version\r\n')).toMatch(/^VERSION/)
    expect(performance.now() - begin).toBeGreaterThanOrEqual(195)
  } finally {
    await heal('memcached')
  }
})

test('wrong words are answered with what would be right', async () => {
  expect(await cli('break')).toContain('usage:')
  expect(await cli('kill', 'redis', '1')).toContain("'redis' is none of galera, rabbit, memcached")
  expect(await cli('kill', 'galera')).toContain('kill needs the number of a node')
  expect(await cli('kill', 'galera', '4')).toContain('galera has nodes 1 to 3, not 4')
  expect(await cli('partition', 'memcached', '1')).toContain('nothing to partition')
})
