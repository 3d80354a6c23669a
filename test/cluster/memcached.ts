import { connect } from 'node:net'
import { ADMIN_ADDRESS, label, node } from './address.js'
import { spawnDetached } from './process.js'
import type { Inspection, Service } from './service.js'
import { nodeLog } from './state.js'
import { waitFor, within } from './wait.js'

/** Four memcached servers that know nothing of each other. */
export const memcached: Service = {
  kind: 'memcached',
  serverName: 'memcached',
  create: () => Promise.resolve(),
  start: async (numbers) => {
    await Promise.all(numbers.map(startOne))
  },
  inspect,
  apply: () => Promise.resolve(),
}

async function startOne(n: number): Promise<void> {
  const { host, port } = node('memcached', n)
  const log = nodeLog('memcached', n)
  const args = ['-u', 'nobody', '-l', host, '-p', String(port), '-U', '0', '-m', '64', '-t', '1', '-c', '4096']
  await spawnDetached('memcached', args, { owner: label('memcached', n), log })
  await waitFor(`memcached ${n}`, { timeoutMs: 10_000, everyMs: 20, log }, async () => {
    const { isMember, role } = await inspect(n)
    return isMember ? undefined : role
  })
}

async function inspect(n: number): Promise<Inspection> {
  try {
    const answer = await within(1500, `memcached ${n}`, ask(n, 'stats\r\n', 'END\r\n'))
    const stat = (name: string): string => new RegExp(`STAT ${name} (\\S+)`).exec(answer)?.[1] ?? '?'
    return { isMember: true, role: `version ${stat('version')}, ${stat('curr_items')} items, up ${stat('uptime')} s` }
  } catch (error) {
    return { isMember: false, role: error instanceof Error ? error.message : 'no answer' }
  }
}

/** Sends one command and resolves with everything up to `end`. */
function ask(n: number, command: string, end: string): Promise<string> {
  const { host, port } = node('memcached', n)
  const socket = connect({ host, port, localAddress: ADMIN_ADDRESS, timeout: 1500 })
  socket.setEncoding('utf8')
  return new Promise<string>((resolve, reject) => {
    let received = ''
    socket.on('data', (chunk: string) => {
      received += chunk
      if (received.endsWith(end)) resolve(received)
    })
    socket.on('error', reject)
    socket.on('timeout', () => {
      reject(new Error('no answer'))
    })
    socket.on('close', () => {
      reject(new Error('closed'))
    })
    socket.write(command)
  }).finally(() => socket.destroy())
}
