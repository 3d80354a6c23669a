import { describe, expect, test, vi } from 'vitest'
import { HostBook, type Host } from '../../../src/amqp/hosts.js'

function setUp(strategy: 'shuffle' | 'round-robin' = 'round-robin') {
  const onUp = vi.fn()
  const onDown = vi.fn()
  const onRefused = vi.fn()
  const hosts = ['a', 'b', 'c'].map((host) => ({ endpoint: { host, port: 1 }, username: 'u', password: 's3cret' }))
  const book = new HostBook(hosts, strategy, { onUp, onDown, onRefused })
  const [a, b, c] = book.hosts as [Host, Host, Host]
  const order = (last?: Host, sibling?: Host): string =>
    book
      .order(last, sibling)
      .map(({ endpoint }) => endpoint.host)
      .join('')
  return { book, a, b, c, order, onUp, onDown, onRefused }
}

describe('the order of hosts', () => {
  test('starts after the one that was lost', () => {
    const { order, a, b } = setUp()
    expect(order()).toBe('abc')
    expect(order(a)).toBe('bca')
    expect(order(b)).toBe('cab')
  })

  test('is the same for both connections that lost the same host', () => {
    const { order, b } = setUp('shuffle')
    expect(order(b)).toBe(order(b))
    expect(order(b).at(-1)).toBe('b')
  })

  test('starts where the other connection is', () => {
    const { order, a, c } = setUp()
    expect(order(a, c)).toBe('cba')
    expect(order(a, a)).toBe('abc')
  })

  test('puts hosts that failed behind the others', () => {
    const { book, order, a, b } = setUp()
    book.attemptFailed(b, new Error('refused'))
    expect(order(a)).toBe('cba')
    book.connected(b)
    expect(order(a)).toBe('bca')
  })
})

describe('what is known of a host', () => {
  test('changes with the first connection and the last', () => {
    const { book, a, onUp, onDown } = setUp()
    book.connected(a)
    book.connected(a)
    book.lost(a, new Error('one'))
    expect(onUp).toHaveBeenCalledTimes(1)
    expect(onDown).not.toHaveBeenCalled()
    book.lost(a, new Error('two'))
    book.attemptFailed(a, new Error('three'))
    expect(onDown).toHaveBeenCalledTimes(1)
    expect(book.status()[0]).toMatchObject({ host: 'a:1', state: 'down', connectionCount: 0, failureCount: 1 })
  })

  test('holds no password', () => {
    expect(JSON.stringify(setUp().book.status())).not.toContain('s3cret')
  })
})
