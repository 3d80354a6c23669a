import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { heal } from '../../cluster/index.js'
import { openRaw, output, statusOf } from './clients.js'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const npm = (...args: string[]): Promise<string> =>
  output('npm', ['--prefix', ROOT, 'run', '--silent', 'cluster', '--', ...args])

/** The same without npm, which alone takes half a second. */
const cli = (...args: string[]): Promise<string> =>
  output(process.execPath, ['--import', import.meta.resolve('tsx'), `${ROOT}test/cluster/cli.ts`, ...args])

test('status prints processes, roles, parameters and faults', async () => {
  await cli('blackhole', 'memcached', '4', '--from', '127.0.9.1')
  const text = await npm('status')
  await cli('heal', 'memcached', '4')
  expect(text).toMatch(/galera: whole, suspect timeout \d+ ms/)
  expect(text).toMatch(/rabbit: whole, net_ticktime \d+ s/)
  expect(text).toMatch(/127\.0\.1\.1:3306 {2}pid \d+ {2}running {2}Primary, Synced, size 3/)
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
