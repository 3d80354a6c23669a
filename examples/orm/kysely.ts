/** Kysely on a Galera cluster: `tsx examples/orm/kysely.ts`, with the hosts in OS_DATABASE__CONNECTION. */
import { Kysely } from 'kysely'
import { createPool } from 'openstack-ha/mysql'
import { highAvailabilityDialect, transaction } from 'openstack-ha/kysely'

interface Tables {
  kysely_quota: { id: number; n: number }
}

const db = createPool()
const kysely = new Kysely<Tables>({ dialect: highAvailabilityDialect(db) })

await kysely.schema
  .createTable('kysely_quota')
  .ifNotExists()
  .addColumn('id', 'integer', (column) => column.primaryKey())
  .addColumn('n', 'integer')
  .execute()
await kysely.replaceInto('kysely_quota').values({ id: 7, n: 10 }).execute()

// Run again when the writer is lost, and exactly once whatever becomes of its COMMIT.
const left = await transaction(
  db,
  kysely,
  async (trx) => {
    const { n } = await trx
      .selectFrom('kysely_quota')
      .select('n')
      .where('id', '=', 7)
      .forUpdate()
      .executeTakeFirstOrThrow()
    await trx
      .updateTable('kysely_quota')
      .set({ n: n - 1 })
      .where('id', '=', 7)
      .execute()
    return n - 1
  },
  { exactlyOnce: true },
)
console.log(`kysely: ${left} left, written to ${db.status().writer.host ?? 'nobody'}`)
await kysely.destroy()
