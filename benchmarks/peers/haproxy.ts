import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SqlPlace, SqlSubject } from '../../test/harness/index.js'
import { Mysql2Pool } from './mysql2.js'

const HOST = '127.0.9.100'
const PORT = 13306
const START_LIMIT_MS = 5000

/**
 * A mysql2 pool behind HAProxy: one active node, the others as its backup, a check every second, down after two.
 *
 * The check is a TCP connection, or with `mysqlCheck` a handshake of the database.
 */
export class Mysql2BehindHaproxy implements SqlSubject {
  readonly name: string
  readonly #pool = new Mysql2Pool()
  readonly #mysqlCheck: boolean
  readonly #dir = mkdtempSync(join(tmpdir(), 'openstack-ha-haproxy-'))
  #haproxy: ChildProcess | undefined

  constructor(mysqlCheck: boolean) {
    this.#mysqlCheck = mysqlCheck
    this.name = `mysql2 behind HAProxy${mysqlCheck ? ' (mysql-check)' : ''}`
  }

  async open({ hosts, ...account }: SqlPlace): Promise<void> {
    const file = join(this.#dir, 'haproxy.cfg')
    writeFileSync(file, this.#config(hosts))
    this.#haproxy = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' })
    await listening()
    await this.#pool.open({ hosts: [`${HOST}:${PORT}`], ...account })
  }

  insert(sql: string, id: string): Promise<void> {
    return this.#pool.insert(sql, id)
  }

  pids(): readonly number[] {
    return this.#haproxy?.pid === undefined ? [] : [this.#haproxy.pid]
  }

  async close(): Promise<void> {
    // First the proxy: a pool does not end while one of its calls has no answer.
    const haproxy = this.#haproxy
    if (haproxy?.exitCode === null && haproxy.kill('SIGKILL')) await once(haproxy, 'exit')
    rmSync(this.#dir, { recursive: true, force: true })
    await this.#pool.close()
  }

  #config(hosts: readonly string[]): string {
    const servers = hosts.map(
      (host, i) =>
        `  server node${i + 1} ${host} check inter 1s fall 2 on-marked-down shutdown-sessions${i > 0 ? ' backup' : ''}`,
    )
    return `defaults
  mode tcp
  timeout connect 1s
  timeout check 1s
  retries 1
  option redispatch
  timeout client 1h
  timeout server 1h
listen galera
  bind ${HOST}:${PORT}
${this.#mysqlCheck ? '  option mysql-check user root\n' : ''}${servers.join('\n')}
`
  }
}

async function listening(): Promise<void> {
  const deadline = performance.now() + START_LIMIT_MS
  while (!(await accepts())) {
    if (performance.now() > deadline) throw new Error('haproxy does not listen')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function accepts(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: HOST, port: PORT })
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
