/** Sequelize on a Galera cluster: `tsx examples/orm/sequelize.ts`, with the hosts in OS_DATABASE__CONNECTION. */
import { DataTypes, Sequelize } from 'sequelize'
import { highAvailability, transaction } from 'openstack-ha/sequelize'

const sequelize = new Sequelize({ dialect: 'mysql', logging: false })
const db = highAvailability(sequelize, {})

const Quota = sequelize.define(
  'quota',
  { id: { type: DataTypes.INTEGER, primaryKey: true }, n: DataTypes.INTEGER },
  { tableName: 'sequelize_quota', timestamps: false },
)
await Quota.sync()
await Quota.upsert({ id: 7, n: 10 })

// Run again when the writer is lost, and exactly once whatever becomes of its COMMIT.
const left = await transaction(
  db,
  sequelize,
  async (t) => {
    const row = await Quota.findByPk(7, { lock: t.LOCK.UPDATE, transaction: t, rejectOnEmpty: true })
    await row.decrement('n', { transaction: t })
    return (row.get('n') as number) - 1
  },
  { exactlyOnce: true },
)
console.log(`sequelize: ${left} left, written to ${db.status().writer.host ?? 'nobody'}`)
await sequelize.close()
