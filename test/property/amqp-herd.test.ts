import fc from 'fast-check'
import { expect, test } from 'vitest'
import { HostBook } from '../../src/amqp/hosts.js'

const CLIENTS = 1000
const addresses = ['a', 'b', 'c'].map((host) => ({ endpoint: { host, port: 1 }, username: 'u', password: 'p' }))
const ignore = { onUp: () => undefined, onDown: () => undefined, onRefused: () => undefined }

test('1,000 clients that lose a host spread over the other two', () => {
  const counts = new Map<string, number>()
  for (let i = 0; i < CLIENTS; i += 1) {
    const book = new HostBook(addresses, 'shuffle', ignore)
    const [lost] = book.hosts
    const first = book.order(lost, undefined)[0]?.endpoint.host ?? ''
    counts.set(first, (counts.get(first) ?? 0) + 1)
  }
  expect(counts.get('a')).toBeUndefined()
  // Six standard deviations of a fair coin.
  for (const host of ['b', 'c']) expect(Math.abs((counts.get(host) ?? 0) - CLIENTS / 2)).toBeLessThan(95)
})

test('whatever happened before, an order names every host once and the lost one last', () => {
  const event = fc.record({ is: fc.constantFrom('failed', 'connected', 'lost'), host: fc.nat({ max: 2 }) })
  fc.assert(
    fc.property(
      fc.array(event),
      fc.nat({ max: 2 }),
      fc.constantFrom('shuffle', 'round-robin'),
      (events, lost, strategy) => {
        const book = new HostBook(addresses, strategy, ignore)
        for (const { is, host } of events) {
          const named = book.hosts[host] as (typeof book.hosts)[number]
          if (is === 'failed') book.attemptFailed(named, new Error('x'))
          else if (is === 'connected') book.connected(named)
          else book.order(named, undefined)
        }
        const last = book.hosts[lost] as (typeof book.hosts)[number]
        const order = book.order(last, undefined)
        expect([...order].sort((a, b) => a.name.localeCompare(b.name))).toEqual(book.hosts)
        expect(order.at(-1)).toBe(last)
      },
    ),
  )
})
