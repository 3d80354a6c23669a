import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { MemcachedOptions } from '../../../src/memcached/index.js'
import { runOrThrow } from '../../cluster/process.js'
import { selfSigned } from '../../helpers/certificate.js'

/** How clients reach a server. */
export type Access = 'plain' | 'unix socket' | 'TLS' | 'SASL' | 'password file'

const USER = { username: 'cache', password: 'pass-word' }

type Args = (n: number) => readonly string[]

/**
 * Real memcached servers of one kind of access, in a folder of their own, on addresses that the cluster does not use.
 */
export class Servers {
  readonly names: readonly string[]
  /** What a client needs to reach them. */
  readonly options: MemcachedOptions
  readonly #folder: string
  readonly #args: Args
  readonly #environment: NodeJS.ProcessEnv
  readonly #processes: (ChildProcess | undefined)[] = []

  private constructor(folder: string, parts: Parts) {
    this.#folder = folder
    this.names = parts.names
    this.options = { servers: parts.names, env: {}, ...parts.options }
    this.#args = parts.args
    this.#environment = { ...process.env, ...parts.environment }
  }

  static async start(access: Access, count: number): Promise<Servers> {
    const folder = mkdtempSync(join(tmpdir(), 'memcached-'))
    chmodSync(folder, 0o755)
    const servers = new Servers(folder, await partsOf(access, folder, count))
    await Promise.all(servers.names.map((_, n) => servers.startOne(n)))
    return servers
  }

  /** Starts one and waits until it takes connections. */
  async startOne(n: number): Promise<void> {
    const args = ['-u', 'nobody', '-U', '0', '-m', '16', '-t', '1', ...this.#args(n)]
    const child = spawn('memcached', args, { stdio: 'ignore', env: this.#environment })
    this.#processes[n] = child
    await expect.poll(() => accepts(this.names[n] as string), { timeout: 10_000, interval: 20 }).toBe(true)
    if (child.exitCode !== null) throw new Error(`memcached ${args.join(' ')} ended with ${child.exitCode}`)
  }

  async kill(n: number): Promise<void> {
    const child = this.#processes[n]
    this.#processes[n] = undefined
    if (child === undefined || child.exitCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  freeze(n: number): void {
    this.#processes[n]?.kill('SIGSTOP')
  }

  thaw(n: number): void {
    this.#processes[n]?.kill('SIGCONT')
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((_, n) => this.kill(n)))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

interface Parts {
  readonly names: readonly string[]
  readonly options: MemcachedOptions
  readonly args: Args
  readonly environment?: NodeJS.ProcessEnv
}

async function partsOf(access: Access, folder: string, count: number): Promise<Parts> {
  const hosts = Array.from({ length: count }, (_, n) => `127.0.3.${50 + n}`)
  const names = hosts.map((host) => `${host}:11211`)
  const listen = (n: number): string[] => ['-l', hosts[n] as string, '-p', '11211']
  switch (access) {
    case 'plain':
      return { names, options: {}, args: listen }
    case 'unix socket': {
      const paths = hosts.map((_, n) => join(folder, `${n}.sock`))
      chmodSync(folder, 0o777)
      return { names: paths, options: {}, args: (n) => ['-s', paths[n] as string, '-a', '777'] }
    }
    case 'TLS': {
      const { key, cert } = selfSigned()
      const files = [join(folder, 'cert.pem'), join(folder, 'key.pem')] as const
      writeFileSync(files[0], cert)
      writeFileSync(files[1], key)
      const tls = `ssl_chain_cert=${files[0]},ssl_key=${files[1]}`
      return {
        names,
        options: { tls: { ca: cert, servername: 'localhost' } },
        args: (n) => [...listen(n), '-Z', '-o', tls],
      }
    }
    case 'SASL': {
      const database = join(folder, 'sasldb')
      const settings = [
        'mech_list: plain',
        'pwcheck_method: auxprop',
        'auxprop_plugin: sasldb',
        `sasldb_path: ${database}`,
      ]
      writeFileSync(join(folder, 'memcached.conf'), `${settings.join('\n')}\n`)
      const user = ['-p', '-c', '-f', database, '-u', hostname(), '-a', 'memcached', USER.username]
      await runOrThrow('saslpasswd2', user, { input: USER.password })
      chmodSync(database, 0o644)
      return { names, options: USER, args: (n) => [...listen(n), '-S'], environment: { SASL_CONF_PATH: folder } }
    }
    case 'password file': {
      const file = join(folder, 'users')
      writeFileSync(file, `${USER.username}:${USER.password}\n`)
      return { names, options: { ...USER, driver: 'meta' }, args: (n) => [...listen(n), '-Y', file] }
    }
  }
}

async function accepts(name: string): Promise<boolean> {
  const [host, port] = name.split(':') as [string, string | undefined]
  const socket = port === undefined ? connect(host) : connect({ host, port: Number(port) })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
