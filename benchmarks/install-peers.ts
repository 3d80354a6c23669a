import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('.', import.meta.url))

/** Installs the clients to compare with, unless they are there. */
export function installPeers(): void {
  if (existsSync(`${FOLDER}node_modules/mariadb`)) return
  console.error('installing the clients to compare with')
  const args = ['install', '--prefix', FOLDER, '--no-audit', '--no-fund', '--loglevel', 'error']
  const { status } = spawnSync('npm', args, { stdio: ['ignore', 'inherit', 'inherit'] })
  if (status !== 0) throw new Error('the clients to compare with cannot be installed; --peers none does without them')
}
