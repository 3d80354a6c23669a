import type { SqlPlace, SqlSubject } from '../../test/harness/index.js'
import { load } from './load.js'

interface Cluster {
  add(id: string, options: object): void
  of(pattern: string, selector: string): { query(sql: string, values: readonly unknown[]): Promise<unknown> }
  end(): Promise<void>
}

interface Mariadb {
  createPoolCluster(options: object): Cluster
}

/** mariadb PoolCluster: ORDER, everything else as it comes. */
export class MariadbCluster implements SqlSubject {
  readonly name: string = 'mariadb PoolCluster'
  #cluster: Cluster | undefined

  async open({ hosts, ...account }: SqlPlace): Promise<void> {
    const mariadb = await load<Mariadb>('mariadb', 'createPoolCluster')
    this.#cluster = mariadb.createPoolCluster({ defaultSelector: 'ORDER' })
    for (const [i, name] of hosts.entries()) {
      const { hostname: host, port } = new URL(`mysql://${name}`)
      const place = { host, port: Number(port), connectionLimit: 16, connectTimeout: 2000 }
      this.#cluster.add(`node${i + 1}`, { ...account, ...place })
    }
  }

  async insert(sql: string, id: string): Promise<void> {
    await this.#cluster?.of('node.*', 'ORDER').query(sql, [id])
  }

  async close(): Promise<void> {
    await this.#cluster?.end()
  }
}
