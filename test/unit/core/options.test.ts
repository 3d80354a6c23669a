import { describe, expect, test, vi } from 'vitest'
import { InvalidOptionError } from '../../../src/core/errors.js'
import { OptionReader } from '../../../src/core/options.js'

const reader = (given: unknown): OptionReader => new OptionReader('mysql', given)
const withEnv = (env: Record<string, string>, given: object = {}): OptionReader => reader({ env, ...given })

describe('OptionReader', () => {
  test('code wins over the environment, which wins over the default', () => {
    const env = { OS_DATABASE__MAX_POOL_SIZE: '5' }
    expect(withEnv(env, { connectionLimit: 7 }).integer('connectionLimit', 10)).toBe(7)
    expect(withEnv(env).integer('connectionLimit', 10)).toBe(5)
    expect(withEnv({}).integer('connectionLimit', 10)).toBe(10)
    expect(withEnv(env, { connectionLimit: undefined }).integer('connectionLimit', 10)).toBe(5)
  })

  test('reads process.env unless it is given another environment', () => {
    vi.stubEnv('OS_DATABASE__MAX_POOL_SIZE', '6')
    try {
      expect(reader({}).integer('connectionLimit', 10)).toBe(6)
      expect(reader({ env: {} }).integer('connectionLimit', 10)).toBe(10)
    } finally {
      vi.unstubAllEnvs()
    }
  })

  test('does not look at a variable whose option is given in code', () => {
    const options = withEnv({ OS_DATABASE__CONNECTION: 'has a $dollar' }, { url: 'mysql://h1' })
    expect(options.string('url')).toBe('mysql://h1')
  })

  test('a group names another section', () => {
    const env = { OS_API_DATABASE__MAX_POOL_SIZE: '4', OS_DATABASE__MAX_POOL_SIZE: '5' }
    expect(withEnv(env, { group: 'api_database' }).integer('connectionLimit', 10)).toBe(4)
  })

  test('messages name the variable when the value came from there, and the option otherwise', () => {
    const env = { OS_DATABASE__MAX_POOL_SIZE: '-5' }
    expect(() => withEnv(env).integer('connectionLimit', 10)).toThrow("option 'OS_DATABASE__MAX_POOL_SIZE' must be")
    expect(() => withEnv(env, { connectionLimit: -5 }).integer('connectionLimit', 10)).toThrow(
      "option 'connectionLimit' must be a whole number of at least 0",
    )
    expect(withEnv(env).isGiven('connectionLimit')).toBe(false)
    expect(withEnv(env, { connectionLimit: 1 }).isGiven('connectionLimit')).toBe(true)
  })

  test.each([0, 1, 2.5, 2_147_483_647])('takes a duration of %d ms', (value) => {
    expect(withEnv({}, { idleMs: value }).duration('idleMs', 5)).toBe(value)
  })

  test.each([-1, 2_147_483_648, Infinity, Number.NaN, '5', true, {}, 10n])('refuses a duration of %s', (value) => {
    expect(() => withEnv({}, { idleMs: value }).duration('idleMs', 5)).toThrow(
      "option 'idleMs' must be a number of milliseconds from 0 to 2147483647",
    )
  })

  test.each([['-1'], ['2147484']])('refuses a duration of %s s from the environment', (text) => {
    const options = withEnv({ OS_DATABASE__POOL_TIMEOUT: text })
    expect(() => options.duration('acquireTimeoutMs', 5)).toThrow("option 'OS_DATABASE__POOL_TIMEOUT' must be")
  })

  test.each([1.5, -1, 11, Number.NaN, 2 ** 53, '5', null])('refuses %s as a whole number from 1 to 10', (value) => {
    const options = withEnv({}, { limit: value })
    const bounds = { min: 1, max: 10 }
    if (value === null) expect(options.integer('limit', 5, bounds)).toBe(5)
    else expect(() => options.integer('limit', 5, bounds)).toThrow('must be a whole number from 1 to 10')
  })

  test('checks the kinds of the other options', () => {
    const bad = withEnv({}, { text: 5, word: 'x', list: 5 })
    expect(() => bad.string('text')).toThrow("'text' must be a string")
    expect(() => bad.oneOf('word', ['a', 'b'], 'a')).toThrow("'word' must be one of 'a', 'b'")
    expect(() => bad.list('list')).toThrow("'list' must be a list")
    const good = withEnv({}, { text: '', word: 'b', list: 'h1, h2,,' })
    expect(good.string('text')).toBe('')
    expect(good.oneOf('word', ['a', 'b'], 'a')).toBe('b')
    expect(good.list('list')).toEqual(['h1', ' h2'])
    expect(good.list('none')).toBeUndefined()
    expect(good.string('none')).toBeUndefined()
    expect(good.string('none', 'default')).toBe('default')
  })

  test('refuses an option that nobody asked for, except env, group and what is undefined', () => {
    const options = withEnv({}, { group: 'database', limit: 1, hostz: ['h1'], unused: undefined })
    options.integer('limit', 5)
    expect(() => options.done()).toThrow("option 'hostz' is unknown")
    options.list('hostz')
    expect(() => options.done()).not.toThrow()
  })

  test.each([
    ['options', null],
    ['options', 'mysql://h1'],
    ['options', []],
    ['env', { env: null }],
    ['env', { env: 'x' }],
    ['group', { group: 'a b' }],
    ['group', { group: '' }],
    ['group', { group: 5 }],
    ['group', { group: null }],
  ])('refuses bad %s', (option, given) => {
    expect(() => reader(given)).toThrow(InvalidOptionError)
    expect(() => reader(given)).toThrow(expect.objectContaining({ option }))
  })
})
