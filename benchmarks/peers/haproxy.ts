import { Haproxy, type SqlPlace, type SqlSubject } from '../../test/harness/index.js'
import { Mysql2Pool } from './mysql2.js'

/**
 * A mysql2 pool behind HAProxy: one active node, the others as its backup, a check every second, down after two.
 *
 * The check is a TCP connection, or with `mysqlCheck` a handshake of the database.
 */
export class Mysql2BehindHaproxy implements SqlSubject {
  readonly name: string
  readonly #pool = new Mysql2Pool()
  readonly #mysqlCheck: boolean
  #haproxy: Haproxy | undefined

  constructor(mysqlCheck: boolean) {
    this.#mysqlCheck = mysqlCheck
    this.name = `mysql2 behind HAProxy${mysqlCheck ? ' (mysql-check)' : ''}`
  }

  async open({ hosts, ...account }: SqlPlace): Promise<void> {
    this.#haproxy = new Haproxy({ servers: hosts, mysqlCheck: this.#mysqlCheck })
    await this.#haproxy.start()
    await this.#pool.open({ hosts: [this.#haproxy.address], ...account })
  }

  insert(sql: string, id: string): Promise<void> {
    return this.#pool.insert(sql, id)
  }

  pids(): readonly number[] {
    return this.#haproxy?.pid === undefined ? [] : [this.#haproxy.pid]
  }

  async close(): Promise<void> {
    // First the proxy: a pool does not end while one of its calls has no answer.
    await this.#haproxy?.close()
    await this.#pool.close()
  }
}
