/** Drizzle on a Galera cluster: `tsx examples/orm/drizzle.ts`, with the hosts in OS_DATABASE__CONNECTION. */
import { eq, sql } from 'drizzle-orm'
import { int, mysqlTable } from 'drizzle-orm/mysql-core'
import { drizzle } from 'drizzle-orm/mysql2'
import { createPool } from 'openstack-ha/mysql'
import { transaction } from 'openstack-ha/drizzle'

const quota = mysqlTable('drizzle_quota', { id: int().primaryKey(), n: int().notNull() })

const db = createPool()
const orm = drizzle({ client: db.callbackPool })

await orm.execute(sql`CREATE TABLE IF NOT EXISTS drizzle_quota (id INT PRIMARY KEY, n INT NOT NULL)`)
await orm
  .insert(quota)
  .values({ id: 7, n: 10 })
  .onDuplicateKeyUpdate({ set: { n: 10 } })

// Run again when the writer is lost, and exactly once whatever becomes of its COMMIT.
const left = await transaction(
  db,
  orm,
  async (trx) => {
    const [row] = await trx.select().from(quota).where(eq(quota.id, 7)).for('update')
    const n = (row?.n ?? 0) - 1
    await trx.update(quota).set({ n }).where(eq(quota.id, 7))
    return n
  },
  { exactlyOnce: true },
)
console.log(`drizzle: ${left} left, written to ${db.status().writer.host ?? 'nobody'}`)
await db.close()
