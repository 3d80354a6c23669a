import { describe, expect, test } from 'vitest'
import { ConnectionLostError, TimeoutError } from '../../../src/core/errors.js'
import { classify, type Classification } from '../../../src/mysql/classify.js'

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
