import { describe, expect, test } from 'vitest'
import { ConnectionLostError, TimeoutError } from '../../../src/core/errors.js'
import { classify, isRerunnable, type Classification } from '../../../src/mysql/classify.js'

const kept = (outcome: Classification['outcome'], node: Classification['node'] = 'none'): Classification => ({
  connection: 'keep',
  node,
  outcome,
})
const destroyed = (outcome: Classification['outcome'], node: Classification['node']): Classification => ({
  connection: 'destroy',
  node,
  outcome,
})
const server = (errno: number, sqlState = 'HY000', sqlMessage = ''): object => ({ errno, sqlState, sqlMessage })

describe('classify', () => {
  test.each([
    ['refused dial', { code: 'ECONNREFUSED', errno: -111 }, destroyed('lost', 'down')],
    ['unresolved name', { code: 'ENOTFOUND', errno: -3008 }, destroyed('lost', 'suspect')],
    ['reset socket', { code: 'ECONNRESET', errno: -104 }, destroyed('lost', 'suspect')],
    ['lost connection', { code: 'PROTOCOL_CONNECTION_LOST', fatal: true }, destroyed('lost', 'suspect')],
    ['closed state, no code at all', { fatal: true }, destroyed('lost', 'suspect')],
    ['server gone away', server(2006), destroyed('lost', 'suspect')],
    ['WSREP not ready', server(1047, '08S01'), destroyed('lost', 'suspect')],
    ['shutdown in progress', server(1053, '08S01'), destroyed('lost', 'suspect')],
    ['connection killed', server(1927, '70100'), destroyed('lost', 'suspect')],
    [
      'read-only by --read-only',
      server(1290, 'HY000', 'running with the --read-only option'),
      destroyed('notExecuted', 'readOnly'),
    ],
    ['1290 for another option', server(1290, 'HY000', 'the --secure-file-priv option'), kept('statementFailed')],
    ['read-only mode', server(1836), destroyed('notExecuted', 'readOnly')],
    ['offline mode', server(3032), destroyed('notExecuted', 'down')],
    ['too many connections', server(1040, '08004'), destroyed('notExecuted', 'busy')],
    ['per-user limit', server(1226, '42000'), destroyed('notExecuted', 'busy')],
    ['host blocked', server(1129), destroyed('notExecuted', 'down')],
    ['wrong password', server(1045, '28000'), kept('notExecuted', 'misconfigured')],
    ['deadlock', server(1213, '40001'), kept('rolledBack')],
    ['snapshot conflict', server(1020), kept('rolledBack')],
    ['lock wait time-out', server(1205), kept('lockWait')],
    ['error during COMMIT', server(1180), destroyed('lost', 'suspect')],
    ['unknown errno of class 08', server(9999, '08006'), destroyed('lost', 'suspect')],
    ['unknown errno of state 40001', server(9999, '40001'), kept('rolledBack')],
    ['duplicate key', server(1062, '23000'), kept('statementFailed')],
    ['syntax error', server(1064, '42000'), kept('statementFailed')],
    ['an error of the application', new Error('no'), kept('statementFailed')],
    ['nothing', undefined, kept('statementFailed')],
  ])('%s', (_name, error, expected) => {
    expect(classify(error)).toEqual(expected)
  })

  // Every number of the error table, so that none falls out of it unnoticed.
  test.each<[string, readonly (number | string)[], Classification]>([
    ['refused', ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN'], destroyed('lost', 'down')],
    [
      'broken off',
      ['ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'ECONNRESET', 'EPIPE', 'ECONNABORTED'],
      destroyed('lost', 'suspect'),
    ],
    [
      'protocol',
      ['PROTOCOL_CONNECTION_LOST', 'PROTOCOL_SEQUENCE_TIMEOUT', 'PROTOCOL_PACKETS_OUT_OF_ORDER'],
      destroyed('lost', 'suspect'),
    ],
    [
      'connection lost',
      [2006, 2013, 2014, 2055, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 3169, 4031],
      destroyed('lost', 'suspect'),
    ],
    ['leaving or not ready', [1047, 1053, 1077, 1079, 1041, 1135], destroyed('lost', 'suspect')],
    ['COMMIT unknown', [1180, 3100], destroyed('lost', 'suspect')],
    ['taken out', [3032, 1129], destroyed('notExecuted', 'down')],
    ['read-only', [1836], destroyed('notExecuted', 'readOnly')],
    ['full', [1040, 1203, 1226], destroyed('notExecuted', 'busy')],
    ['proxy without a server', [9001], kept('lost', 'busy')],
    ['stale prepared statement', [1243, 1615], destroyed('notExecuted', 'none')],
    [
      'credentials',
      [1044, 1045, 1049, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 3159],
      kept('notExecuted', 'misconfigured'),
    ],
    ['rolled back', [1213, 1614, 3101, 1020], kept('rolledBack')],
    ['lock wait', [1205], kept('lockWait')],
    ['killed query', [1317], kept('interrupted')],
    [
      'application, its own limits, full disks',
      [1062, 1064, 1146, 1451, 1792, 1969, 3024, 1021, 1114, 1105],
      kept('statementFailed'),
    ],
  ])('%s: %s', (_name, codes, expected) => {
    for (const code of codes) {
      const error = typeof code === 'number' ? server(code) : { code, errno: -1, fatal: true }
      expect([code, classify(error)]).toEqual([code, expected])
    }
  })

  test('MariaDB’s own numbers, for which mysql2 has no name, count as the others', () => {
    expect(classify({ errno: 1927, code: undefined, sqlState: '70100' }).outcome).toBe('lost')
    expect(classify({ errno: 1969, code: undefined, sqlState: '70100' }).outcome).toBe('statementFailed')
  })

  test('only what nobody ended on purpose, and what did not fail by itself, is run again', () => {
    const outcomes = ['lost', 'notExecuted', 'rolledBack', 'lockWait', 'statementFailed', 'interrupted'] as const
    expect(outcomes.map(isRerunnable)).toEqual([true, true, true, true, false, false])
  })

  test('our own errors count by code, and others of ours by their cause', () => {
    expect(classify(new ConnectionLostError('h:1', 'gone'))).toEqual(destroyed('lost', 'suspect'))
    expect(classify(new TimeoutError('operation', 5, 'x')).outcome).toBe('lost')
  })

  test('a name with several addresses is down only when all of them are', () => {
    const refused = Object.assign(new Error(), { code: 'ECONNREFUSED' })
    const silent = new TimeoutError('connect', 5, 'x')
    expect(classify(new AggregateError([refused, refused])).node).toBe('down')
    expect(classify(new AggregateError([refused, silent])).node).toBe('suspect')
    expect(classify(new AggregateError([silent, refused])).node).toBe('suspect')
  })
})
