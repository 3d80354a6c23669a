import type { LookupFunction } from 'node:net'
import { describe, expect, test } from 'vitest'
import { InvalidOptionError } from '../../../src/core/errors.js'
import { createPool, type MysqlPoolOptions } from '../../../src/mysql/index.js'
import { resolveMysqlOptions } from '../../../src/mysql/options.js'

const resolve = (options: MysqlPoolOptions): ReturnType<typeof resolveMysqlOptions> =>
  resolveMysqlOptions({ env: {}, ...options })

describe('createPool refuses at once', () => {
  test.each<[string, MysqlPoolOptions, string]>([
    ['no hosts', {}, 'hosts'],
    ['an empty host list', { hosts: [] }, 'hosts'],
    ['a bad port', { hosts: ['db:99999'] }, 'hosts'],
    ['a port that is no number', { url: 'mysql://db:http/nova' }, 'url'],
    ['a host that is named twice', { hosts: ['db', 'db:3306'] }, 'hosts'],
    ['an IPv6 address without brackets', { hosts: ['::1'] }, 'hosts'],
    ['a URL of another scheme', { url: 'rabbit://db/nova' }, 'url'],
    ['no URL at all', { url: 'db1,db2' }, 'url'],
    ['different credentials for the hosts', { url: 'mysql://a:x@db1,b:y@db2/nova' }, 'url'],
    ['an unknown URL parameter', { url: 'mysql://db/nova?pool=5' }, 'url'],
    ['an unknown option', { hosts: ['db'], conectionLimit: 5 } as MysqlPoolOptions, 'conectionLimit'],
    ['a negative duration', { hosts: ['db'], acquireTimeoutMs: -1 }, 'acquireTimeoutMs'],
    ['a duration that is no number', { hosts: ['db'], probeTimeoutMs: '5' as unknown as number }, 'probeTimeoutMs'],
    ['a limit of no connections', { hosts: ['db'], connectionLimit: 0 }, 'connectionLimit'],
    ['a fraction of a connection', { hosts: ['db'], connectionLimit: 1.5 }, 'connectionLimit'],
    ['a charset that mysql2 does not know', { hosts: ['db'], charset: 'utf8mb5' }, 'driver options'],
    ['an ssl that mysql2 cannot use', { hosts: ['db'], ssl: true }, 'driver options'],
    ['a lookup that is no function', { hosts: ['db'], lookup: 'dns' as unknown as LookupFunction }, 'lookup'],
    ['a priority that is no number', { hosts: [{ host: 'db', priority: '1' as unknown as number }] }, 'hosts'],
    [
      'a negative duration in the environment',
      { env: { OS_DATABASE__CONNECTION: 'mysql://db/x', OS_DATABASE__POOL_TIMEOUT: '-5' } },
      'OS_DATABASE__POOL_TIMEOUT',
    ],
    [
      'a wrong scheme in the environment',
      { env: { OS_DATABASE__CONNECTION: 'postgresql://db/x' } },
      'OS_DATABASE__CONNECTION',
    ],
  ])('%s', (_name, options, option) => {
    const error = catchError(() => createPool({ env: {}, ...options }))
    expect(error).toBeInstanceOf(InvalidOptionError)
    expect(error).toMatchObject({ code: 'HA_INVALID_OPTION', option })
  })

  test('without quoting a password', () => {
    const error = catchError(() => createPool({ env: {}, url: 'mysql://u:s3cret@db:port/nova' }))
    expect(String((error as Error).stack)).not.toContain('s3cret')
  })
})

describe('options', () => {
  test('come from the URL', () => {
    const options = resolve({ url: 'mysql+pymysql://nova:p%40ss@db1,db2:3307,[::1]/nova?charset=utf8mb4' })
    expect(options.hosts.map(({ endpoint }) => endpoint)).toEqual([
      { host: 'db1', port: 3306 },
      { host: 'db2', port: 3307 },
      { host: '::1', port: 3306 },
    ])
    expect(options.driverOptions).toEqual({ user: 'nova', password: 'p@ss', database: 'nova', charset: 'utf8mb4' })
  })

  test('hosts given in code replace the URL’s, a URL given in code wins over hosts from the environment', () => {
    const names = (options: MysqlPoolOptions): string[] => resolve(options).hosts.map(({ endpoint }) => endpoint.host)
    expect(names({ url: 'mysql://a/x', hosts: ['b'] })).toEqual(['b'])
    expect(names({ url: 'mysql://a/x', env: { OS_DATABASE__HOSTS: 'c' } })).toEqual(['a'])
    expect(names({ env: { OS_DATABASE__CONNECTION: 'mysql://a/x', OS_DATABASE__HOSTS: 'c, d' } })).toEqual(['c', 'd'])
  })

  test('another section of the environment is read by group', () => {
    const env = { OS_API_DATABASE__CONNECTION: 'mysql://api/nova_api', OS_DATABASE__CONNECTION: 'mysql://main/nova' }
    expect(resolve({ env, group: 'api_database' }).hosts[0]?.endpoint.host).toBe('api')
  })

  test('have OpenStack’s SQL mode by default, and mysql2’s options are passed through', () => {
    const options = resolve({ hosts: ['db'], dateStrings: true })
    expect(options.sqlMode).toBe('TRADITIONAL')
    expect(options.driverOptions['dateStrings']).toBe(true)
  })
})

function catchError(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}
