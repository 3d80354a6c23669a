import { describe, expect, test } from 'vitest'
import {
  ClosedError,
  ConnectError,
  ConnectionLostError,
  errorText,
  HAError,
  InvalidOptionError,
  isHAError,
  NoEndpointError,
  TimeoutError,
  toError,
  type HAErrorCode,
  type TimeoutPhase,
} from '../../../src/core/errors.js'

const samples: readonly HAError[] = [
  new InvalidOptionError('hosts', 'must be a list'),
  new ClosedError('pool'),
  new TimeoutError('acquire', 30_001.4, 'total=10 idle=0'),
  new ConnectError('h1:3306', new Error('refused')),
  new NoEndpointError('no host is usable', []),
  new ConnectionLostError('h1:5672', 'cut'),
]

/** Every code there is; the compiler refuses a missing one, and one that was renamed. */
const CODES: Readonly<Record<HAErrorCode, true>> = {
  HA_INVALID_OPTION: true,
  HA_CLOSED: true,
  HA_TIMEOUT: true,
  HA_CONNECT: true,
  HA_NO_ENDPOINT: true,
  HA_CONNECTION_LOST: true,
  HA_NO_WRITER: true,
  HA_OUTCOME_UNKNOWN: true,
  HA_TRANSACTION_ENDED: true,
  HA_FENCE_UNAVAILABLE: true,
  HA_STREAM_OPEN: true,
  HA_SESSION_SETUP: true,
  HA_BACKPRESSURE: true,
  HA_MESSAGE_TOO_LARGE: true,
  HA_UNROUTABLE: true,
  HA_PUBLISH_REFUSED: true,
  HA_ACCESS_REFUSED: true,
  HA_QUEUE_KIND: true,
  HA_KEY: true,
  HA_VALUE_TOO_LARGE: true,
  HA_SERVER_BUSY: true,
  HA_PROTOCOL: true,
  HA_AUTHENTICATION: true,
  HA_REMOTE: true,
  HA_REMOTE_VERSION: true,
  HA_REMOTE_METHOD: true,
  HA_VERSION_CAP: true,
  HA_UNSAFE_INTEGER: true,
}

describe('the errors', () => {
  test('have codes of the known list only', () => {
    for (const { code } of samples) expect(CODES[code]).toBe(true)
  })

  test('keep their names, codes and messages: users match on them', () => {
    expect(samples.map(({ name, code, message, safeToRetry }) => [name, code, message, safeToRetry])).toEqual([
      ['InvalidOptionError', 'HA_INVALID_OPTION', "option 'hosts' must be a list", true],
      ['ClosedError', 'HA_CLOSED', 'pool is closed', true],
      ['TimeoutError', 'HA_TIMEOUT', 'acquire timed out after 30001 ms (total=10 idle=0)', true],
      ['ConnectError', 'HA_CONNECT', 'cannot connect to h1:3306: refused', true],
      ['NoEndpointError', 'HA_NO_ENDPOINT', 'no host is usable: none was tried yet', true],
      ['ConnectionLostError', 'HA_CONNECTION_LOST', 'connection to h1:5672 lost: cut', false],
    ])
  })

  test.each<[TimeoutPhase, boolean]>([
    ['acquire', true],
    ['connect', true],
    ['ready', true],
    ['operation', false],
    ['close', false],
  ])('a time-out of %s is safe to retry: %s', (phase, isSafe) => {
    expect(new TimeoutError(phase, 1, 'x').safeToRetry).toBe(isSafe)
  })

  test('carry a cause only when there is one', () => {
    const cause = new Error('below')
    expect(new ClosedError('pool', cause).cause).toBe(cause)
    expect(new TimeoutError('ready', 1, 'x', cause).cause).toBe(cause)
    expect(new ConnectError('h', cause).cause).toBe(cause)
    expect(new ConnectionLostError('h', 'why', { cause }).cause).toBe(cause)
    expect('cause' in new ClosedError('pool')).toBe(false)
    expect('cause' in new TimeoutError('ready', 1, 'x')).toBe(false)
    expect('cause' in new ConnectionLostError('h', 'why')).toBe(false)
  })

  test('of several endpoints name each reason and keep the last as cause', () => {
    const errors = [new Error('h1 refused'), new Error('h2 silent')]
    const error = new NoEndpointError('no writer', errors)
    expect(error.message).toBe('no writer: h1 refused; h2 silent')
    expect(error.errors).toBe(errors)
    expect(error.cause).toBe(errors[1])
  })
})

describe('isHAError()', () => {
  test('knows the errors of this package', () => {
    for (const error of samples) expect(isHAError(error)).toBe(true)
  })

  test('knows the errors of another copy of this package, for which instanceof is false', () => {
    const brand = Symbol.for('openstack-ha.error')
    const error = Object.assign(new Error('pool is closed'), { code: 'HA_CLOSED', [brand]: true })
    expect(error).not.toBeInstanceOf(HAError)
    expect(isHAError(error)).toBe(true)
  })

  test.each([
    [new Error('plain')],
    [{ code: 'HA_CLOSED', [Symbol.for('openstack-ha.error')]: true }],
    [undefined],
    [null],
    ['HA_CLOSED'],
  ])('does not know %s', (value) => {
    expect(isHAError(value)).toBe(false)
  })
})

describe('errorText()', () => {
  test('shows the reasons that an AggregateError hides, nested ones included', () => {
    const inner = new AggregateError([new Error('connect ECONNREFUSED ::1:3306')])
    const error = new AggregateError([new Error('connect ECONNREFUSED 127.0.0.1:3306'), inner])
    expect(errorText(error)).toBe('connect ECONNREFUSED 127.0.0.1:3306; connect ECONNREFUSED ::1:3306')
    expect(new ConnectError('localhost:3306', error).message).toContain('127.0.0.1:3306; connect ECONNREFUSED ::1')
  })

  test('falls back to the code and then to the name when there is no message', () => {
    expect(errorText(Object.assign(new Error(''), { code: 'ECONNRESET' }))).toBe('ECONNRESET')
    expect(errorText(new RangeError(''))).toBe('RangeError')
    expect(errorText(new AggregateError([]))).toBe('AggregateError')
  })
})

describe('toError()', () => {
  test('keeps an Error and makes one of anything else that can be thrown', () => {
    const error = new Error('as it is')
    expect(toError(error)).toBe(error)
    expect(toError('text').message).toBe('text')
    expect(toError(undefined).message).toBe('undefined')
    expect(toError(Symbol('s')).message).toBe('Symbol(s)')
    expect(toError(Object.create(null))).toBeInstanceOf(Error)
  })

  test('does not quote what an object holds, and keeps the object as cause', () => {
    const thrown = { password: 'secret' }
    const error = toError(thrown)
    expect(error.message).not.toContain('secret')
    expect(error.cause).toBe(thrown)
  })
})
