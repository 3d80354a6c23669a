/** TypeORM on a Galera cluster: `tsx examples/orm/typeorm.ts`, with the hosts in OS_DATABASE__CONNECTION. */
import { DataSource, EntitySchema } from 'typeorm'
import { highAvailabilityDriver, transaction } from 'openstack-ha/typeorm'

interface Quota {
  id: number
  n: number
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- TypeORM declares its options as a class
const Quota = new EntitySchema<Quota>({
  name: 'typeorm_quota',
  columns: { id: { type: 'int', primary: true }, n: { type: 'int' } },
})

const driver = highAvailabilityDriver({})
const source = new DataSource({ type: 'mariadb', driver, entities: [Quota], synchronize: true })
await source.initialize()
await source.getRepository(Quota).save({ id: 7, n: 10 })

// Run again when the writer is lost, and exactly once whatever becomes of its COMMIT.
const left = await transaction(
  driver.pool,
  source,
  async (manager) => {
    const lock = { mode: 'pessimistic_write' } as const
    const { n } = await manager.findOneOrFail(Quota, { where: { id: 7 }, lock })
    await manager.update(Quota, { id: 7 }, { n: n - 1 })
    return n - 1
  },
  { exactlyOnce: true },
)
console.log(`typeorm: ${left} left, written to ${driver.pool.status().writer.host ?? 'nobody'}`)
await source.destroy()
