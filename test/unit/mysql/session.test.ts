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

  test('a deadlock ends the transaction and keeps the connection, a lost answer spoils it', () => {
    const one = session()
    one.noteResult([new ResultSetHeader(3), undefined])
    one.noteError({ errno: 1213, sqlState: '40001' })
    expect([one.isInTransaction, one.isReusable]).toEqual([false, true])
    one.noteError({ code: 'ECONNRESET' })
    expect(one.isReusable).toBe(false)
  })
})
