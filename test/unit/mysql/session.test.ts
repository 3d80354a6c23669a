import { describe, expect, test } from 'vitest'
import type { DriverConnection } from '../../../src/mysql/driver.js'
import { Session } from '../../../src/mysql/session.js'

class ResultSetHeader {
  readonly affectedRows = 0
  readonly serverStatus: number
  constructor(serverStatus: number) {
    this.serverStatus = serverStatus
  }
}

const standing: Partial<DriverConnection> = { lost: undefined }
const session = (): Session => new Session(standing as DriverConnection, 1000)

describe('Session', () => {
  test('follows the transaction by the flags of OK packets', () => {
    const one = session()
    one.noteResult([new ResultSetHeader(3), undefined])
    expect(one.isInTransaction).toBe(true)
    one.noteResult([[{ serverStatus: 2, affectedRows: 1 }], []])
    expect(one.isInTransaction).toBe(true)
    one.noteResult([new ResultSetHeader(2), undefined])
    expect(one.isInTransaction).toBe(false)
  })

  test('autocommit that is off counts as a transaction', () => {
    const one = session()
    one.noteResult([new ResultSetHeader(0), undefined])
    expect(one.isInTransaction).toBe(true)
  })

  test('of several results the last one counts', () => {
    const one = session()
    one.noteResult([[new ResultSetHeader(3), new ResultSetHeader(2)], []])
    expect(one.isInTransaction).toBe(false)
  })

  test('of several results the last with flags counts, and rows that look like results do not', () => {
    const one = session()
    one.noteResult([
      [new ResultSetHeader(3), [{ one: 1 }]],
      [undefined, [{ name: 'one' }]],
    ])
    expect(one.isInTransaction).toBe(true)
    one.noteResult([[{ n: 1 }, { n: 2 }], [{ name: 'n' }]])
    expect(one.isInTransaction).toBe(true)
  })

  test('an error leaves it in doubt whether there is a transaction, unless its statement cannot begin one', () => {
    const one = session()
    const failed = { errno: 1062, sqlState: '23000' }
    one.noteError(failed, 'INSERT INTO t VALUES (1)')
    expect(one.isUnsure).toBe(false)
    for (const sql of [
      'CALL transfer()',
      'START TRANSACTION; INSERT INTO t VALUES (1)',
      'BEGIN NOT ATOMIC SELECT 1; END',
    ]) {
      one.noteError(failed, sql)
      expect([sql, one.isUnsure]).toEqual([sql, true])
      one.noteResult([new ResultSetHeader(2), undefined])
      expect(one.isUnsure).toBe(false)
    }
  })

  test('a deadlock ends the transaction and keeps the connection, a lost answer spoils it', () => {
    const one = session()
    one.noteResult([new ResultSetHeader(3), undefined])
    one.noteError({ errno: 1213, sqlState: '40001' }, 'UPDATE t SET n = 1')
    expect([one.isInTransaction, one.isReusable]).toEqual([false, true])
    one.noteError({ code: 'ECONNRESET' }, 'SELECT 1')
    expect(one.isReusable).toBe(false)
  })
})
