/** Knex on a Galera cluster: `tsx examples/orm/knex.ts`, with the hosts in OS_DATABASE__CONNECTION. */
import { createPool } from 'openstack-ha/mysql'
import { highAvailability, transaction } from 'openstack-ha/knex'

const db = createPool()
const knex = highAvailability(db)

await knex.raw('CREATE TABLE IF NOT EXISTS knex_quota (id INT PRIMARY KEY, n INT NOT NULL)')
await knex('knex_quota').insert({ id: 7, n: 10 }).onConflict().merge()

// Run again when the writer is lost, and exactly once whatever becomes of its COMMIT.
const left = await transaction(
  db,
  knex,
  async (trx) => {
    const { n } = (await trx('knex_quota').where({ id: 7 }).forUpdate().first()) as { n: number }
    await trx('knex_quota')
      .where({ id: 7 })
      .update({ n: n - 1 })
    return n - 1
  },
  { exactlyOnce: true },
)
console.log(`knex: ${left} left, written to ${db.status().writer.host ?? 'nobody'}`)
await knex.destroy()
await db.close()
