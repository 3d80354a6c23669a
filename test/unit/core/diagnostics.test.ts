import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect, test, vi } from 'vitest'
import { diagnose } from '../../../src/core/diagnostics.js'

test('diagnose() publishes to the channel of its service and name, and writes nothing to the console', () => {
  const subscriber = vi.fn()
  const other = vi.fn()
  const stderr = vi.spyOn(process.stderr, 'write')
  subscribe('openstack-ha:memcached:evicted', subscriber)
  subscribe('openstack-ha:mysql:evicted', other)
  const fact = { host: 'h1:11211' }
  diagnose('memcached', 'evicted', fact)
  unsubscribe('openstack-ha:memcached:evicted', subscriber)
  diagnose('memcached', 'evicted', fact)
  unsubscribe('openstack-ha:mysql:evicted', other)
  expect(subscriber.mock.calls).toEqual([[fact, 'openstack-ha:memcached:evicted']])
  expect(other).not.toHaveBeenCalled()
  expect(stderr).not.toHaveBeenCalled()
  stderr.mockRestore()
})
