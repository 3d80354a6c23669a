import { accessSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import type { Kind } from './address.js'
import { run, runOrThrow } from './process.js'
import { withLock } from './state.js'
import type { Progress } from './wait.js'

/** A file that shows that a Debian package is there; looking at files is much faster than asking dpkg. */
type Evidence = readonly [file: string, debianPackage: string]

const COMMON: readonly Evidence[] = [
  ['/usr/sbin/nft', 'nftables'],
  ['/usr/bin/ss', 'iproute2'],
]

const NEEDED: Readonly<Record<Kind, readonly Evidence[]>> = {
  galera: [
    ['/usr/sbin/mariadbd', 'mariadb-server'],
    ['/usr/lib/galera/libgalera_smm.so', 'galera-4'],
    ['/usr/bin/rsync', 'rsync'],
    ['/usr/bin/lsof', 'lsof'],
    ['/usr/sbin/haproxy', 'haproxy'],
  ],
  rabbit: [
    ['/usr/lib/rabbitmq/bin/rabbitmq-server', 'rabbitmq-server'],
    ['/usr/bin/erl_call', 'erlang-base'],
    ['/usr/lib/python3/dist-packages/oslo_messaging', 'python3-oslo.messaging'],
  ],
  memcached: [
    ['/usr/bin/memcached', 'memcached'],
    ['/usr/lib/python3/dist-packages/pymemcache', 'python3-pymemcache'],
    ['/usr/sbin/saslpasswd2', 'sasl2-bin'],
    ['/usr/lib/x86_64-linux-gnu/sasl2/libplain.so', 'libsasl2-modules'],
  ],
}

const POLICY = '/usr/sbin/policy-rc.d'

/** Throws unless this process may do what the clusters need: other users' processes, firewall rules, packages. */
export function requireRoot(): void {
  if (process.getuid?.() === 0) return
  throw new Error('the clusters need root (packages, nftables, other users): run `sudo npm run cluster -- up`')
}

/** Installs the Debian packages that the kinds need and that are missing. */
export async function installPackages(kinds: readonly Kind[], progress: Progress): Promise<void> {
  if (missingPackages(kinds).length === 0) return
  await withLock('packages', 600_000, async () => {
    const missing = missingPackages(kinds)
    if (missing.length === 0) return
    const install = ['install', '-y', '--no-install-recommends', ...missing]
    const manual = `apt-get update && DEBIAN_FRONTEND=noninteractive apt-get ${install.join(' ')}`
    if (process.getuid?.() !== 0) throw new Error(`packages are missing; run as root: ${manual}`)
    if (!existsSync('/usr/bin/apt-get')) throw new Error(`not a Debian system; install: ${missing.join(' ')}`)
    progress(`installing ${missing.join(' ')}`)
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    await run('apt-get', ['update'], { timeoutMs: 300_000, env })
    await withoutAutostart(async () => runOrThrow('apt-get', install, { timeoutMs: 900_000, env }))
  })
}

function missingPackages(kinds: readonly Kind[]): readonly string[] {
  const evidence = [...COMMON, ...kinds.flatMap((kind) => NEEDED[kind])]
  return evidence.filter(([file]) => !isThere(file)).map(([, debianPackage]) => debianPackage)
}

function isThere(file: string): boolean {
  try {
    accessSync(file)
    return true
  } catch {
    return false
  }
}

/** Debian starts a service when it is installed; RabbitMQ's listens on every address, so ours could not. */
async function withoutAutostart<T>(action: () => Promise<T>): Promise<T> {
  if (existsSync(POLICY)) return action()
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    return await action()
  } finally {
    rmSync(POLICY, { force: true })
  }
}
