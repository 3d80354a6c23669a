import { describe, expect, test } from 'vitest'
import {
  cannotCommit,
  isPlainRead,
  isProvablyRead,
  isSingleStatement,
  toStatement,
} from '../../../src/mysql/statement.js'

describe('isProvablyRead', () => {
  test.each([
    'SELECT 1',
    ' select a, COUNT(*) from t where b in (1, 2) group by a',
    "SELECT 'for update' FROM t",
    '(SELECT 1) UNION (SELECT 2)',
    '/* find it */ SELECT * FROM t -- for update',
    'SHOW TABLES',
    'SELECT @@version_comment',
    'EXPLAIN SELECT * FROM t',
    'SELECT `into` FROM t;',
  ])('yes: %s', (sql) => {
    expect(isProvablyRead(sql)).toBe(true)
  })

  test.each([
    'SELECT * FROM t FOR UPDATE',
    'SELECT * FROM t LOCK IN SHARE MODE',
    'SELECT * FROM t FOR SHARE',
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    'SELECT GET_LOCK("x", 1)',
    'SELECT my_function(1)',
    'SELECT `my_function`(1)',
    'SELECT db.`my_function` (1)',
    'SELECT "my_function"(1)',
    'SELECT LAST_INSERT_ID()',
    'SELECT @a := 1',
    'SELECT NEXT VALUE FOR s',
    'SELECT nextval(s)',
    'SELECT 1; DELETE FROM t',
    'SELECT /*! SQL_NO_CACHE */ 1',
    'ANALYZE SELECT * FROM t',
    'EXPLAIN ANALYZE DELETE FROM t',
    'INSERT INTO t VALUES (1)',
    'UPDATE t SET a = 1',
    'CALL p()',
    'WITH x AS (SELECT 1) DELETE FROM t',
    'SET @a = 1',
    '',
  ])('no: %s', (sql) => {
    expect(isProvablyRead(sql)).toBe(false)
  })

  test('what goes through the reader may call functions, but not lock', () => {
    expect(isPlainRead('SELECT my_function(1)')).toBe(true)
    expect(isPlainRead('SELECT * FROM t FOR UPDATE')).toBe(false)
  })
})

describe('a statement within a transaction', () => {
  test.each(['INSERT INTO t VALUES (1)', ' update t set a = 1', 'SELECT 1', 'SET @a = 1', 'SAVEPOINT s'])(
    'cannot commit it: %s',
    (sql) => {
      expect(cannotCommit(sql)).toBe(true)
    },
  )

  test.each([
    'COMMIT',
    'TRUNCATE t',
    'CREATE TABLE t (a INT)',
    'CALL p()',
    'SET autocommit = 1',
    'INSERT INTO t VALUES (1); COMMIT',
    'BEGIN',
  ])('can commit it: %s', (sql) => {
    expect(cannotCommit(sql)).toBe(false)
  })

  test('can do a part of its work only when it is several, or a procedure', () => {
    expect(isSingleStatement("INSERT INTO t VALUES (';') ;")).toBe(true)
    expect(isSingleStatement('INSERT INTO t VALUES (1); SELECT 1')).toBe(false)
    expect(isSingleStatement('CALL p()')).toBe(false)
  })
})

describe('toStatement', () => {
  test('takes both of mysql2’s forms and keeps the limits apart', () => {
    expect(toStatement('SELECT ?', [1])).toMatchObject({ driver: { sql: 'SELECT ?', values: [1] }, limits: {} })
    expect(toStatement({ sql: 'SELECT 1', rowsAsArray: true, timeoutMs: 5 })).toMatchObject({
      driver: { sql: 'SELECT 1', rowsAsArray: true },
      limits: { timeoutMs: 5, signal: undefined },
    })
  })

  test('takes mysql2’s own timeout for ours, which does not leave the connection unusable', () => {
    const { driver, limits } = toStatement({ sql: 'SELECT 1', timeout: 5 })
    expect(limits).toEqual({ timeoutMs: 5, signal: undefined })
    expect(driver).toEqual({ sql: 'SELECT 1' })
    expect(toStatement({ sql: 'SELECT 1', timeout: 5, timeoutMs: 7 }).limits.timeoutMs).toBe(7)
    expect(toStatement({ sql: 'SELECT 1', timeout: 0 }).limits.timeoutMs).toBeUndefined()
  })
})
