import type * as callback from 'mysql2'
import type * as promise from 'mysql2/promise'
import { describe, expectTypeOf, test } from 'vitest'
import type { MysqlPool, PoolConnection, Reader, StatementOptions, Transaction } from '../../../src/mysql/index.js'

/** What services ask a promise pool for; the rest of mysql2's type of it is a connection's, which its own pool has not. */
type UsedOfPool = Pick<promise.Pool, 'query' | 'execute' | 'format' | 'escape' | 'escapeId' | 'end'>
type UsedOfConnection = Pick<
  promise.PoolConnection,
  | 'query'
  | 'execute'
  | 'beginTransaction'
  | 'commit'
  | 'rollback'
  | 'ping'
  | 'reset'
  | 'changeUser'
  | 'unprepare'
  | 'format'
  | 'escape'
  | 'escapeId'
  | 'release'
  | 'destroy'
  | 'config'
  | 'threadId'
>

interface User extends callback.RowDataPacket {
  readonly id: number
}

describe('where a type of mysql2 is wanted, without a cast', () => {
  test('its pools are ours', () => {
    expectTypeOf<MysqlPool['callbackPool']>().toEqualTypeOf<callback.Pool>()
    expectTypeOf<MysqlPool['pool']>().toEqualTypeOf<callback.Pool>()
    expectTypeOf<Reader['callbackPool']>().toEqualTypeOf<callback.Pool>()
    expectTypeOf<ReturnType<MysqlPool['callbackPool']['promise']>>().toExtend<promise.Pool>()
    expectTypeOf<MysqlPool>().toExtend<UsedOfPool>()
    expectTypeOf<Reader>().toExtend<Pick<promise.Pool, 'query' | 'execute'>>()
  })

  test('its connections are ours', () => {
    expectTypeOf<PoolConnection>().toExtend<UsedOfConnection>()
    expectTypeOf<PoolConnection['connection']>().toEqualTypeOf<callback.PoolConnection>()
    expectTypeOf<Transaction['connection']>().toEqualTypeOf<callback.PoolConnection>()
    expectTypeOf<Transaction>().toExtend<Pick<promise.PoolConnection, 'query' | 'execute'>>()
  })

  test('its results are ours', () => {
    type Users = Awaited<ReturnType<typeof MysqlPool.prototype.query<User[]>>>
    type Written = Awaited<ReturnType<typeof MysqlPool.prototype.execute<callback.ResultSetHeader>>>
    expectTypeOf<Users>().toEqualTypeOf<[User[], callback.FieldPacket[]]>()
    expectTypeOf<Written>().toEqualTypeOf<[callback.ResultSetHeader, callback.FieldPacket[]]>()
  })

  test('a misspelt option of a statement is refused', () => {
    expectTypeOf<StatementOptions>().not.toHaveProperty('timeoutms')
    expectTypeOf<StatementOptions>().toExtend<{ timeoutMs?: number | undefined; rowsAsArray?: boolean }>()
  })
})
