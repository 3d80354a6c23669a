import { describe, expect, test } from 'vitest'
import { readEnvironment, variableName, type Environment } from '../../../src/core/environment.js'
import { InvalidOptionError } from '../../../src/core/errors.js'
import { VARIABLES, type Service } from '../../../src/core/variables.js'

const read = (service: Service, environment: Environment, group?: string): Record<string, unknown> =>
  Object.fromEntries([...readEnvironment(service, environment, group)].map(([code, { value }]) => [code, value]))

describe('variableName()', () => {
  test.each([
    ['DEFAULT', 'transport_url', 'OS_DEFAULT__TRANSPORT_URL'],
    ['database', 'connection', 'OS_DATABASE__CONNECTION'],
    ['oslo_messaging_rabbit', 'rabbit_retry_interval', 'OS_OSLO_MESSAGING_RABBIT__RABBIT_RETRY_INTERVAL'],
    ['my-group', 'some-option', 'OS_MY_GROUP__SOME_OPTION'],
  ])('names %s %s as oslo.config does', (group, option, name) => {
    expect(variableName(group, option)).toBe(name)
  })
})

describe('readEnvironment()', () => {
  test('reads what oslo reads, by the names of the options in code', () => {
    expect(
      read('mysql', {
        OS_DATABASE__CONNECTION: 'mysql+pymysql://u:p@h1/nova',
        OS_DATABASE__HOSTS: ' h1, h2:3307 ,,[::1]',
        OS_DATABASE__MAX_POOL_SIZE: '5',
        OS_DATABASE__POOL_TIMEOUT: '2.5',
        OS_DEFAULT__TRANSPORT_URL: 'rabbit://',
        OS_DATABASE__UNKNOWN: 'x',
        os_database__mysql_sql_mode: 'lower case is not read',
        CONNECTION: 'x',
      }),
    ).toEqual({
      url: 'mysql+pymysql://u:p@h1/nova',
      hosts: ['h1', 'h2:3307', '[::1]'],
      connectionLimit: 5,
      acquireTimeoutMs: 2500,
    })
  })

  test('reads nothing from an empty environment, and takes an empty variable for none', () => {
    expect(read('amqp', {})).toEqual({})
    expect(read('amqp', { OS_DEFAULT__TRANSPORT_URL: '' })).toEqual({})
  })

  test('a group replaces the main section and no other', () => {
    const environment = {
      OS_DATABASE__CONNECTION: 'main',
      OS_API_DATABASE__CONNECTION: 'api',
      OS_DEFAULT__TRANSPORT_URL: 'rabbit://h1',
      OS_CELL__TRANSPORT_URL: 'not read',
      OS_CELL__RABBIT_RETRY_INTERVAL: '3',
    }
    expect(read('mysql', environment, 'api_database')).toEqual({ url: 'api' })
    expect(read('amqp', environment, 'cell')).toEqual({ url: 'rabbit://h1', retryIntervalMs: 3000 })
  })

  test.each([
    ['a$$b', 'a$b'],
    ['a\\$b', 'a$b'],
    ['$$$$', '$$'],
    ['$$foo', '$foo'],
    ['a\\b', 'a\\b'],
  ])('takes %s for %s', (text, value) => {
    expect(read('mysql', { OS_DATABASE__MYSQL_SQL_MODE: text })).toEqual({ sqlMode: value })
  })

  test.each(['$foo', '${foo}', 'a$', '$$$', '\\$$'])('refuses %s: it refers to another option', (text) => {
    const problem = (): unknown => read('mysql', { OS_DATABASE__CONNECTION: text })
    expect(problem).toThrow(InvalidOptionError)
    expect(problem).toThrow("option 'OS_DATABASE__CONNECTION'")
  })

  test.each([
    ['0.3', 300],
    ['1.1', 1100],
    ['.5', 500],
    ['1.', 1000],
    [' 2 ', 2000],
    ['+3', 3000],
  ])('reads %s seconds as %d ms', (text, ms) => {
    expect(read('mysql', { OS_DATABASE__POOL_TIMEOUT: text })).toEqual({ acquireTimeoutMs: ms })
  })

  test.each([
    ['OS_DATABASE__POOL_TIMEOUT', '1s'],
    ['OS_DATABASE__POOL_TIMEOUT', '1e3'],
    ['OS_DATABASE__POOL_TIMEOUT', ' '],
    ['OS_DATABASE__MAX_POOL_SIZE', '5.5'],
    ['OS_DATABASE__MAX_POOL_SIZE', 'ten'],
    ['OS_DATABASE__MAX_POOL_SIZE', '0x10'],
  ])('a bad value names its variable and is not quoted: %s=%s', (name, text) => {
    const problem = (): unknown => read('mysql', { [name]: text })
    expect(problem).toThrow(`option '${name}' must be a`)
    expect(problem).toThrow(expect.objectContaining({ code: 'HA_INVALID_OPTION', option: name }))
  })
})

describe('VARIABLES', () => {
  test('names every variable once per service, and has a sentence for each', () => {
    const names = VARIABLES.map(({ service, group, option }) => `${service} ${variableName(group, option)}`)
    expect(new Set(names).size).toBe(names.length)
    for (const { what, code } of VARIABLES) {
      expect(what).not.toBe('')
      expect(code).toMatch(/^[a-z][A-Za-z]*(\.[a-z]+)?$/)
    }
  })

  test('reads seconds into options that end in Ms only, and nothing else into those', () => {
    for (const { code, type } of VARIABLES) expect([code, type === 'seconds']).toEqual([code, code.endsWith('Ms')])
  })
})
