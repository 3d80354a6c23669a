import type { LookupFunction } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Resolver } from '../../../src/core/resolver.js'
import { useFakeTime } from './fake-time.js'

type Callback = Parameters<LookupFunction>[2]

/** Questions that were asked and not answered yet. */
let questions: Callback[] = []
const lookup: LookupFunction = (_name, options, callback) => {
  expect(options).toEqual({ all: true })
  questions.push(callback)
}
function answer(...addresses: readonly string[]): void {
  for (const callback of questions.splice(0))
    callback(
      null,
      addresses.map((address) => ({ address, family: 4 })),
    )
}
function fail(code: string): void {
  for (const callback of questions.splice(0)) callback(Object.assign(new Error(`getaddrinfo ${code}`), { code }), [])
}

let resolver: Resolver
beforeEach(() => {
  useFakeTime()
  questions = []
  resolver = new Resolver('db', lookup)
})
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

/** Asked once, with an answer. */
async function know(...addresses: readonly string[]): Promise<void> {
  const asked = resolver.resolve()
  answer(...addresses)
  await asked
}

describe('a name', () => {
  test('is asked for anew each time, and its addresses come in the resolver’s order, each once', async () => {
    const asked = resolver.resolve()
    answer('10.0.0.2', '10.0.0.1', '10.0.0.2')
    await expect(asked).resolves.toEqual(['10.0.0.2', '10.0.0.1'])
    const again = resolver.resolve()
    answer('10.0.0.3')
    await expect(again).resolves.toEqual(['10.0.0.3'])
  })

  test('is asked for once by all who want it at the same time', async () => {
    const all = [resolver.resolve(), resolver.resolve()]
    expect(questions).toHaveLength(1)
    answer('10.0.0.1')
    await expect(Promise.all(all)).resolves.toEqual([['10.0.0.1'], ['10.0.0.1']])
  })

  test('that fails for the moment is what it was last', async () => {
    await know('10.0.0.1')
    const asked = resolver.resolve()
    fail('EAI_AGAIN')
    await expect(asked).resolves.toEqual(['10.0.0.1'])
  })

  test('that the name server is silent about is what it was last, and a late answer counts the next time', async () => {
    await know('10.0.0.1')
    const asked = resolver.resolve()
    await vi.advanceTimersByTimeAsync(302)
    await expect(asked).resolves.toEqual(['10.0.0.1'])
    const late = resolver.resolve()
    expect(questions).toHaveLength(1)
    answer('10.0.0.2')
    await expect(late).resolves.toEqual(['10.0.0.2'])
  })

  test('that does not exist is an error, also when it did before, and exists when it does again', async () => {
    await know('10.0.0.1')
    const asked = resolver.resolve()
    fail('ENOTFOUND')
    await expect(asked).rejects.toMatchObject({ code: 'ENOTFOUND' })
    const again = resolver.resolve()
    answer('10.0.0.1')
    await expect(again).resolves.toEqual(['10.0.0.1'])
  })

  test('without addresses does not exist', async () => {
    const asked = resolver.resolve()
    answer()
    await expect(asked).rejects.toMatchObject({ code: 'ENOTFOUND' })
  })

  test('whose lookup never ends is asked for again later', async () => {
    const asked = expect(resolver.resolve()).rejects.toMatchObject({ code: 'HA_TIMEOUT' })
    await vi.advanceTimersByTimeAsync(10_002)
    await asked
    const again = resolver.resolve()
    expect(questions).toHaveLength(2)
    answer('10.0.0.1')
    await expect(again).resolves.toEqual(['10.0.0.1'])
  })
})

test('a lookup function may answer with one address, or throw', async () => {
  const one = new Resolver('db', (_name, _options, callback) => callback(null, '10.0.0.1', 4))
  await expect(one.resolve()).resolves.toEqual(['10.0.0.1'])
  const broken = new Resolver('db', () => {
    throw new TypeError('broken')
  })
  await expect(broken.resolve()).rejects.toThrow('broken')
})

test('an address is not looked up', async () => {
  await expect(new Resolver('::1', lookup).resolve()).resolves.toEqual(['::1'])
  expect(questions).toHaveLength(0)
})

test('the system’s resolver is asked by default', async () => {
  vi.useRealTimers()
  const addresses = await new Resolver('localhost').resolve()
  expect(addresses.every((address) => ['127.0.0.1', '::1'].includes(address))).toBe(true)
  useFakeTime()
})
