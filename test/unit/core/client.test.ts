import { once, type EventEmitter } from 'node:events'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Client } from '../../../src/core/client.js'
import type { AvailabilityStatus } from '../../../src/core/availability.js'
import type { ClosedError } from '../../../src/core/errors.js'
import type { CommonEvents } from '../../../src/core/events.js'
import { useFakeTime } from './fake-time.js'

/** A client whose hosts and work are in the hands of the test. */
class TestClient extends Client<CommonEvents> {
  drained: Promise<void> = Promise.resolve()
  readonly torn: ClosedError[] = []

  constructor() {
    super('mysql', 'pool')
  }

  usable(isUsable: boolean, cause?: Error): void {
    this.setUsable(isUsable, cause)
  }

  refuse(error: Error): void {
    this.failReadiness(error)
  }

  work(): void {
    this.assertOpen()
  }

  status(): AvailabilityStatus {
    return this.availability()
  }

  hostUp(host: string): void {
    this.report('hostUp', { host, cause: undefined })
  }

  failover(): void {
    this.reportFailover({ from: 'h1:1', to: 'h2:1', cause: undefined, detectedMs: 1, elapsedMs: 2 })
  }

  protected override whyUnusable(): Error {
    return new Error('h1:1 refused')
  }

  protected override drain(): Promise<void> {
    return this.drained
  }

  protected override teardown(reason: ClosedError): void {
    this.torn.push(reason)
  }
}

const never = (): Promise<never> => new Promise(() => undefined)

let client: TestClient

beforeEach(() => {
  useFakeTime()
  client = new TestClient()
})

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

describe('ready()', () => {
  test('resolves when a host becomes usable, and at once while one is', async () => {
    const waiting = client.ready()
    client.usable(true)
    await expect(waiting).resolves.toBeUndefined()
    await expect(client.ready({ timeoutMs: 1 })).resolves.toBeUndefined()
  })

  test('waits again after an outage has begun', async () => {
    client.usable(true)
    client.usable(false)
    const onReady = vi.fn()
    const waiting = client.ready().then(onReady)
    await vi.advanceTimersByTimeAsync(100)
    expect(onReady).not.toHaveBeenCalled()
    client.usable(true)
    await waiting
  })

  test('rejects at its limit and says what each host answered', async () => {
    const waiting = expect(client.ready({ timeoutMs: 100 })).rejects.toMatchObject({
      code: 'HA_TIMEOUT',
      phase: 'ready',
      message: expect.stringMatching(/^ready timed out after 10\d ms \(h1:1 refused\)$/) as string,
      cause: new Error('h1:1 refused'),
    })
    await vi.advanceTimersByTimeAsync(102)
    await waiting
  })

  test('has a limit of 30 s by default', async () => {
    const onRejected = vi.fn()
    const waiting = client.ready().catch(onRejected)
    await vi.advanceTimersByTimeAsync(29_990)
    expect(onRejected).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(20)
    await waiting
    expect(onRejected).toHaveBeenCalledTimes(1)
  })

  test('rejects with the reason of its signal', async () => {
    const controller = new AbortController()
    const waiting = expect(client.ready({ signal: controller.signal })).rejects.toThrow('enough')
    controller.abort(new Error('enough'))
    await waiting
  })

  test('rejects with a refusal that cannot mend, and waits anew when it is called again', async () => {
    const refusal = new Error('access denied')
    const waiting = expect(client.ready()).rejects.toBe(refusal)
    client.refuse(refusal)
    await waiting
    const second = client.ready()
    client.usable(true)
    await second
  })

  test('is not spoilt by the refusal of one host while another one serves', async () => {
    client.usable(true)
    client.refuse(new Error('access denied'))
    await expect(client.ready({ timeoutMs: 1 })).resolves.toBeUndefined()
  })

  test('rejects when the client is destroyed while it waits, and when it is closed already', async () => {
    const cause = new Error('shutdown')
    const waiting = expect(client.ready()).rejects.toMatchObject({ code: 'HA_CLOSED', cause })
    client.destroy(cause)
    await waiting
    await expect(client.ready()).rejects.toMatchObject({ code: 'HA_CLOSED', cause })
  })
})

describe('outages', () => {
  test('are reported once at their beginning and once at their end', () => {
    const events: [string, unknown][] = []
    client.on('outageStart', (event) => events.push(['start', event]))
    client.on('outageEnd', (event) => events.push(['end', event]))
    const cause = new Error('all hosts are gone')
    client.usable(false, new Error('not an outage before the first host'))
    client.usable(true)
    client.usable(true)
    client.usable(false, cause)
    client.usable(false, new Error('again'))
    vi.advanceTimersByTime(250)
    client.usable(true)
    client.usable(true)
    expect(events).toEqual([
      ['start', { cause }],
      ['end', { elapsedMs: 250 }],
    ])
    expect(client.status()).toMatchObject({ outageCount: 1, outageMs: 250, isOut: false })
  })

  test('are not reported after the end of the client', () => {
    const listener = vi.fn()
    client.on('outageStart', listener)
    client.usable(true)
    client.destroy()
    client.usable(false)
    expect(listener).not.toHaveBeenCalled()
  })

  test('and failovers are counted, with frozen events', () => {
    const listener = vi.fn()
    client.on('failover', listener)
    client.failover()
    expect(client.status()).toMatchObject({ failoverCount: 1, failovers: [{ from: 'h1:1', to: 'h2:1' }] })
    expect(Object.isFrozen(listener.mock.calls[0]?.[0])).toBe(true)
  })
})

describe('close()', () => {
  test('waits for what runs, refuses what is new, and tears down once', async () => {
    let finish: () => void = () => undefined
    client.drained = new Promise((resolve) => {
      finish = resolve
    })
    const closing = client.close()
    expect(() => client.work()).toThrow(expect.objectContaining({ code: 'HA_CLOSED' }))
    expect(client.torn).toEqual([])
    expect(client.close()).toBe(closing)
    finish()
    await closing
    expect(client.torn).toHaveLength(1)
    client.destroy()
    await client.close()
    expect(client.torn).toHaveLength(1)
  })

  test('is bounded: what does not end is rejected with the time-out as cause', async () => {
    client.drained = never()
    const closing = client.close({ timeoutMs: 100 })
    await vi.advanceTimersByTimeAsync(102)
    await closing
    expect(client.torn[0]).toMatchObject({ code: 'HA_CLOSED', cause: { code: 'HA_TIMEOUT', phase: 'close' } })
  })

  test('has a limit of 10 s by default', async () => {
    client.drained = never()
    const closing = client.close()
    await vi.advanceTimersByTimeAsync(9990)
    expect(client.torn).toEqual([])
    await vi.advanceTimersByTimeAsync(20)
    await closing
    expect(client.torn).toHaveLength(1)
  })

  test('does not reject when the drain fails', async () => {
    client.drained = Promise.reject(new Error('drain failed'))
    await expect(client.close()).resolves.toBeUndefined()
    expect(client.torn[0]?.cause).toEqual(new Error('drain failed'))
  })

  test('rejects those who wait in ready()', async () => {
    const waiting = expect(client.ready()).rejects.toMatchObject({ code: 'HA_CLOSED' })
    await client.close()
    await waiting
  })

  test('is what `await using` calls', async () => {
    {
      await using used = client
      used.work()
    }
    expect(client.torn).toHaveLength(1)
    expect(() => client.work()).toThrow('pool is closed')
  })
})

describe('destroy()', () => {
  test('ends at once, with its error as cause, and is safe to repeat', () => {
    const cause = new Error('lost patience')
    client.destroy(cause)
    client.destroy(new Error('again'))
    expect(client.torn).toHaveLength(1)
    expect(client.torn[0]).toMatchObject({ code: 'HA_CLOSED', cause, safeToRetry: false })
    expect(() => client.work()).toThrow(expect.objectContaining({ cause }))
  })

  test('ends a close() that is still waiting', async () => {
    let finish: () => void = () => undefined
    client.drained = new Promise((resolve) => {
      finish = resolve
    })
    const closing = client.close()
    client.destroy(new Error('now'))
    expect(client.torn).toHaveLength(1)
    finish()
    await closing
    expect(client.torn).toHaveLength(1)
  })
})

test('events.once() of Node works with a client', async () => {
  const waiting = once(client as unknown as EventEmitter, 'hostUp')
  client.hostUp('h1:1')
  expect(await waiting).toEqual([{ host: 'h1:1', cause: undefined }])
})
