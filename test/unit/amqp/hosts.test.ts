import { describe, expect, test, vi } from 'vitest'
import { AccessRefusedError } from '../../../src/amqp/errors.js'
import { HostBook, type Host } from '../../../src/amqp/hosts.js'
import { ConnectError, ConnectionLostError } from '../../../src/core/errors.js'

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

  test('puts a host last that said that it cannot serve now, wherever the other connection is', () => {
    const { book, order, a, b } = setUp()
    for (const host of [a, b]) book.connected(host)
    const cannot = Object.assign(new Error('INTERNAL_ERROR - operation timed out'), { code: 541 })
    book.lost(b, new ConnectionLostError('b:1', 'x', { cause: cannot }))
    expect(order(b, b)).toBe('acb')
    book.connected(b)
    expect(order(a, b)).toBe('bca')
  })

  test('puts hosts that failed behind the others', () => {
    const { book, order, a, b } = setUp()
    book.attemptFailed(b, new Error('refused'))
    expect(order(a)).toBe('cba')
    book.connected(b)
    expect(order(a)).toBe('bca')
  })
})

describe('another list', () => {
  const listed = (...names: readonly string[]) =>
    names.map((host) => ({ endpoint: { host, port: 1 }, username: 'u', password: 'p' }))

  test('keeps what is known of hosts that stay, and forgets the others', () => {
    const { book, a, b, c } = setUp()
    book.connected(a)
    book.attemptFailed(b, new Error('refused'))
    book.replace(listed('d', 'b', 'a'))
    expect(book.status().map(({ host, state }) => [host, state])).toEqual([
      ['d:1', 'unknown'],
      ['b:1', 'down'],
      ['a:1', 'up'],
    ])
    expect([book.has(a), book.has(b), book.has(c)]).toEqual([true, true, false])
  })

  test('is not harmed by the end of connections to hosts that are gone', () => {
    const { book, a, order, onDown } = setUp()
    book.connected(a)
    book.replace(listed('b', 'c'))
    book.lost(a, new Error('removed'))
    book.attemptFailed(a, new Error('late'))
    expect(onDown).not.toHaveBeenCalled()
    expect(order(a)).toBe('bc')
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

  test('tells of a refusal once, until a connection succeeded', () => {
    const { book, a, onRefused } = setUp()
    const refusal = new AccessRefusedError('a:1', '/', 'u', 403, undefined)
    for (let i = 0; i < 3; i += 1) book.attemptFailed(a, new ConnectError('a:1', refusal))
    expect(onRefused.mock.calls).toEqual([[refusal]])
    book.connected(a)
    book.attemptFailed(a, new ConnectError('a:1', refusal))
    expect(onRefused).toHaveBeenCalledTimes(2)
  })

  test('holds no password', () => {
    expect(JSON.stringify(setUp().book.status())).not.toContain('s3cret')
  })
})
