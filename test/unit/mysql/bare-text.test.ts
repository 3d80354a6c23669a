import { expect, test } from 'vitest'
import { bareText } from '../../../src/mysql/bare-text.js'

test.each([
  ['SELECT 1', 'SELECT 1'],
  ["SELECT 'a;b', n", "SELECT '', n"],
  ["SELECT 'it''s', 1", "SELECT '', 1"],
  ["SELECT 'a\\'b', 1", "SELECT '', 1"],
  ["SELECT 'a\\\\', 1", "SELECT '', 1"],
  ['SELECT "x", `a``b` FROM t', 'SELECT  quoted_name ,  quoted_name  FROM t'],
  ['SELECT `a\\` FROM t', 'SELECT  quoted_name  FROM t'],
  ['SELECT 1 -- COMMIT\n, 2', 'SELECT 1  , 2'],
  ['SELECT 1 # COMMIT\n, 2', 'SELECT 1  , 2'],
  ['SELECT 5--1', 'SELECT 5--1'],
  ['SELECT /* COMMIT */ 1', 'SELECT   1'],
  ['SELECT /*! COMMIT */ 1', 'SELECT /*! COMMIT */ 1'],
  ['SELECT /*M!100100 COMMIT */ 1', 'SELECT /*M!100100 COMMIT */ 1'],
  ["SELECT 'never closed", "SELECT ''"],
  ['SELECT 1 /* never closed', 'SELECT 1  '],
])('%s', (sql, bare) => {
  expect(bareText(sql)).toBe(bare)
})

test('takes texts of any size, in time that grows with the size only', () => {
  const value = 'x'.repeat(16_000_000)
  expect(bareText(`INSERT INTO t VALUES ('${value}')`)).toBe("INSERT INTO t VALUES ('')")
  expect(bareText(`INSERT INTO t VALUES ('${"\\'".repeat(200_000)}`)).toBe("INSERT INTO t VALUES (''")
})
