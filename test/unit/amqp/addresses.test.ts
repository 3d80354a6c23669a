import type { LookupFunction } from 'node:net'
import { beforeEach, expect, test } from 'vitest'
import { Addresses } from '../../../src/amqp/addresses.js'
import { AccessRefusedError } from '../../../src/amqp/errors.js'

/** What each address does; those that are not here refuse. */
type Behaviour = Readonly<Record<string, 'open' | 'silent' | 'forbidden'>>

const opened: string[] = []
const discarded: string[] = []
const aborted: string[] = []

beforeEach(() => {
  for (const list of [opened, discarded, aborted]) list.length = 0
})

function dialling(names: () => readonly string[], behaviour: Behaviour) {
  const lookup = ((_: string, __: object, callback: (error: null, found: object[]) => void) => {
    callback(
      null,
      names().map((address) => ({ address, family: 4 })),
    )
  }) as unknown as LookupFunction
  const addresses = new Addresses({ host: 'mq.example', port: 5672 }, lookup)
  const open = (address: string, signal: AbortSignal): Promise<string> => {
    opened.push(address)
    const what = behaviour[address]
    if (what === 'open') return Promise.resolve(address)
    if (what === 'forbidden') return Promise.reject(new AccessRefusedError(address, '/', 'u', 403, undefined))
    if (what === undefined) return Promise.reject(new Error(`${address} refused`))
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        aborted.push(address)
        reject(signal.reason as Error)
      })
    })
  }
  return (signal = new AbortController().signal): Promise<string> =>
    addresses.dial(
      { open, discard: (one: string) => void discarded.push(one), connectTimeoutMs: 2000, hedgeMs: 50 },
      signal,
    )
}

test('a name with several addresses leads to one that answers, and stays there', async () => {
  const dial = dialling(() => ['10.0.0.1', '10.0.0.2', '10.0.0.3'], { '10.0.0.2': 'open', '10.0.0.3': 'open' })
  expect(await dial()).toBe('10.0.0.2')
  expect(await dial()).toBe('10.0.0.2')
  expect(opened).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.2'])
})

test('an address whose server says nothing is raced by the next one, and comes last from then on', async () => {
  const dial = dialling(() => ['10.0.0.1', '10.0.0.2'], { '10.0.0.1': 'silent', '10.0.0.2': 'open' })
  expect(await dial()).toBe('10.0.0.2')
  expect(aborted).toEqual(['10.0.0.1'])
  expect(await dial()).toBe('10.0.0.2')
  expect(opened).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.2'])
})

test('the name is looked up at each dial', async () => {
  let names = ['10.0.0.1']
  const dial = dialling(() => names, { '10.0.0.1': 'open', '10.0.0.9': 'open' })
  expect(await dial()).toBe('10.0.0.1')
  names = ['10.0.0.9']
  expect(await dial()).toBe('10.0.0.9')
})

test('the error names every address, and is a refusal when all refuse the login', async () => {
  const refused = dialling(() => ['10.0.0.1', '10.0.0.2'], {})
  await expect(refused()).rejects.toThrow('10.0.0.1 refused; 10.0.0.2 refused')
  const forbidden = dialling(() => ['10.0.0.1'], { '10.0.0.1': 'forbidden' })
  await expect(forbidden()).rejects.toBeInstanceOf(AccessRefusedError)
})

test('a dial that is given up ends at once with the reason', async () => {
  const dial = dialling(() => ['10.0.0.1', '10.0.0.2'], { '10.0.0.1': 'silent', '10.0.0.2': 'silent' })
  const stop = new AbortController()
  const dialled = dial(stop.signal)
  await expect.poll(() => opened.length).toBe(2)
  stop.abort(new Error('enough'))
  await expect(dialled).rejects.toThrow('enough')
  expect(aborted).toEqual(['10.0.0.1', '10.0.0.2'])
})
