import { nodes } from '../cluster/index.js'
import { adminSql } from './mysql-admin.js'

/**
 * `host:port` of the Galera nodes, the one that has been up longest first.
 *
 * A node that an earlier run has killed is young: a client that prefers it would leave it alone at first and go back to
 * it in the middle of this run.
 */
export async function hostsByAge(): Promise<readonly string[]> {
  const ages = await Promise.all(
    nodes('galera').map(async ({ n, host, port }) => {
      const [row] = await adminSql(n, `SHOW GLOBAL STATUS LIKE 'Uptime'`)
      return { name: `${host}:${port}`, uptime: Number(row?.['Value']) }
    }),
  )
  return ages.sort((a, b) => b.uptime - a.uptime).map(({ name }) => name)
}
