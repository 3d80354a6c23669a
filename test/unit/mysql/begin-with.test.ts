import { describe, expect, test } from 'vitest'
import { canBeginWith } from '../../../src/mysql/begin-with.js'

describe('canBeginWith', () => {
  test.each<[string, unknown]>([
    ['SELECT n FROM quota WHERE id = ? FOR UPDATE', [7]],
    [' select 1', undefined],
    ['SELECT * FROM t WHERE a = ? AND b IS ? -- last', ['x', null]],
    ['SELECT /*+ NO_ICP(t) */ n FROM t /* all of it */', []],
  ])('yes: %s', (sql, values) => {
    expect(canBeginWith({ sql, values })).toBe(true)
  })

  test.each<[string, unknown]>([
    ['UPDATE quota SET n = 1', undefined],
    ['WITH x AS (SELECT 1) DELETE FROM t', undefined],
    ['(SELECT 1) UNION (SELECT 2)', undefined],
    ["SELECT 1 INTO OUTFILE '/tmp/x'", undefined],
    ['SELECT n INTO @n FROM quota', undefined],
    ['SELECT /*!50000 1 */', undefined],
    ['SELECT 1; DELETE FROM t', undefined],
    ['SELECT 1;', undefined],
    ["SELECT 'C:\\' INTO @x", undefined],
    ["SELECT 'into' FROM t", undefined],
    ['SELECT /*M!100100 1 */', undefined],
    ["SELECT ';'", undefined],
    ["SELECT '\\'; DELETE FROM t; -- '", undefined],
    ['SELECT ?', ["'; DELETE FROM t; -- "]],
    ['SELECT ?', [{ toSqlString: () => '1' }]],
    ['SELECT :id', { id: 1 }],
    ['SELECT * FROM t WHERE id IN (?)', [[1, 2]]],
  ])('no: %s', (sql, values) => {
    expect(canBeginWith({ sql, values })).toBe(false)
  })
})
