import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { EventSource, type CommonEvents, type HostEvent } from '../../../src/core/events.js'

class Source extends EventSource<CommonEvents> {
  constructor() {
    super('amqp')
  }

  up(host: string): void {
    this.report('hostUp', { host, cause: undefined })
  }
}

const event = { host: 'h1:1', cause: undefined }
const LISTENER_ERROR = 'openstack-ha:amqp:listenerError'
const onListenerError = vi.fn()
const unhandled = vi.fn()

beforeEach(() => {
  subscribe(LISTENER_ERROR, onListenerError)
  process.on('unhandledRejection', unhandled)
})

afterEach(() => {
  unsubscribe(LISTENER_ERROR, onListenerError)
  process.off('unhandledRejection', unhandled)
  expect(unhandled).not.toHaveBeenCalled()
  onListenerError.mockClear()
})

describe('EventSource', () => {
  test('calls listeners in order until they are removed, and those of once() once', () => {
    const source = new Source()
    const calls: string[] = []
    const every = (): unknown => calls.push('every')
    source.on('hostUp', every).once('hostUp', () => calls.push('once'))
    source.up('h1:1')
    source.up('h1:1')
    source.off('hostUp', every)
    source.up('h1:1')
    source.on('hostUp', every).removeListener('hostUp', every)
    source.up('h1:1')
    expect(calls).toEqual(['every', 'once', 'every'])
  })

  test('gives listeners a frozen payload', () => {
    const source = new Source()
    const listener = vi.fn<(event: HostEvent) => void>()
    source.on('hostUp', listener)
    source.up('h1:1')
    expect(listener.mock.calls).toEqual([[event]])
    expect(Object.isFrozen(listener.mock.calls[0]?.[0])).toBe(true)
  })

  test.each([
    ['an Error', new Error('listener')],
    ['undefined', undefined],
    ['an object without a prototype', Object.create(null) as unknown],
  ])('is not harmed by a listener that throws or rejects with %s', async (_, thrown) => {
    const source = new Source()
    const after = vi.fn()
    source.on('hostUp', () => {
      throw thrown
    })
    const rejecting: () => unknown = async () => Promise.reject(thrown)
    source.on('hostUp', rejecting).once('hostUp', rejecting)
    source.on('hostUp', after)
    expect(() => source.up('h1:1')).not.toThrow()
    expect(after).toHaveBeenCalledTimes(1)
    await expect.poll(() => onListenerError.mock.calls.length).toBe(3)
    for (const [message] of onListenerError.mock.calls) expect(message).toEqual({ error: expect.any(Error) as Error })
    await new Promise((resolve) => setImmediate(resolve))
  })

  test('publishes each event to diagnostics_channel', () => {
    const subscriber = vi.fn()
    subscribe('openstack-ha:amqp:hostUp', subscriber)
    new Source().up('h1:1')
    unsubscribe('openstack-ha:amqp:hostUp', subscriber)
    new Source().up('h1:1')
    expect(subscriber.mock.calls).toEqual([[event, 'openstack-ha:amqp:hostUp']])
  })

  test('takes any number of listeners without a warning', async () => {
    const warning = vi.fn()
    process.on('warning', warning)
    const source = new Source()
    for (let i = 0; i < 50; i += 1) source.on('hostUp', () => undefined)
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', warning)
    expect(warning).not.toHaveBeenCalled()
  })
})
