import { randomUUID } from 'node:crypto'
import { chmodSync, chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { selfSigned } from '../helpers/certificate.js'
import { label, node, nodes } from './address.js'
import { account, ownedProcesses, spawnDetached } from './process.js'
import { accepts } from './probe.js'
import { distributionPort, EPMD_PORT, erlangName, evaluate, type RabbitStatus, rabbitStatus } from './rabbit-admin.js'
import { type Inspection, type Service, serverProcess } from './service.js'
import { kindDir, makeDir, nodeDir, nodeLog, readSettings, type Settings } from './state.js'
import { type Progress, tailOf, waitFor } from './wait.js'

/** Time for nodes to boot and to find each other; about 18 s when the machine is idle. */
const BOOT_TIMEOUT_MS = 120_000

/** Owner mark of the port mapper, which belongs to no single node. */
const EPMD_OWNER = 'rabbit-epmd'

const NUMBERS: readonly number[] = nodes('rabbit').map(({ n }) => n)

/** Three RabbitMQ servers in one cluster. */
export const rabbit: Service = {
  kind: 'rabbit',
  serverName: 'beam.smp',
  create,
  start,
  inspect,
  apply,
}

/** Where each node offers TLS, beside its plain port. */
export const RABBIT_TLS_PORT = 5671

function config(n: number): string {
  return `
cluster_partition_handling = ignore
disk_free_limit.absolute = 50MB
loopback_users = none
listeners.ssl.1 = ${node('rabbit', n).host}:${RABBIT_TLS_PORT}
ssl_options.cacertfile = ${certificateFile()}
ssl_options.certfile = ${certificateFile()}
ssl_options.keyfile = ${keyFile()}
`
}

function certificateFile(): string {
  return join(kindDir('rabbit'), 'server-cert.pem')
}

function keyFile(): string {
  return join(kindDir('rabbit'), 'server-key.pem')
}

function configFile(n: number): string {
  return join(kindDir('rabbit'), `rabbitmq-${n}.conf`)
}

function create(progress: Progress): Promise<void> {
  progress('creating configuration')
  const dir = kindDir('rabbit')
  const cookie = join(dir, '.erlang.cookie')
  writeFileSync(cookie, randomUUID())
  chmodSync(cookie, 0o400)
  const { cert, key } = selfSigned()
  writeFileSync(certificateFile(), cert)
  writeFileSync(keyFile(), key)
  for (const n of NUMBERS) writeFileSync(configFile(n), config(n))
  writeFileSync(join(dir, 'enabled_plugins'), '[].')
  for (const n of NUMBERS) makeDir(nodeDir('rabbit', n))
  const { uid, gid } = account('rabbitmq')
  for (const path of [dir, cookie, ...NUMBERS.map((n) => nodeDir('rabbit', n))]) chownSync(path, uid, gid)
  return Promise.resolve()
}

async function start(numbers: readonly number[], progress: Progress): Promise<void> {
  await startPortMapper()
  const settings = readSettings('rabbit')
  for (const n of numbers) await launch(n, settings)
  const others = await Promise.all(NUMBERS.filter((n) => !numbers.includes(n)).map((n) => rabbitStatus(n)))
  // A node that was not the last to go down waits for the others before it serves anybody.
  if (numbers.length < NUMBERS.length && !others.some((status) => status?.isBooted === true)) {
    progress(`started node ${numbers.join(', ')}; no other node runs, so it may wait for one`)
    return
  }
  progress(`waiting for node ${numbers.join(', ')}`)
  await Promise.all(numbers.map((n) => becomesBooted(n)))
  // One after the other: each join changes the cluster that the next one joins.
  for (const n of numbers) await joinFirstNode(n, progress)
}

/**
 * Makes a node without a cluster a member of node 1's.
 *
 * Not by peer discovery: nodes that boot at the same time can take its lock from node 1, and then wait for it.
 */
async function joinFirstNode(n: number, progress: Progress): Promise<void> {
  const members = await evaluate(n, 'integer_to_list(length(mnesia:system_info(db_nodes)))')
  if (n === 1 || members !== '1') return
  progress(`node ${n} joins node 1`)
  const steps = `begin rabbit:stop(), ok = rabbit_mnesia:join_cluster('${erlangName(1)}', disc), rabbit:start(), "" end`
  await evaluate(n, steps, BOOT_TIMEOUT_MS)
  await becomesBooted(n)
}

async function becomesBooted(n: number): Promise<void> {
  const log = nodeLog('rabbit', n)
  await waitFor(`rabbit ${n} booted`, { timeoutMs: BOOT_TIMEOUT_MS, everyMs: 300, log }, async () => {
    if (serverProcess(rabbit, n) === undefined && !isStarting(n)) {
      throw new Error(`rabbit ${n} died while it started\n${tailOf(log)}`)
    }
    const status = await rabbitStatus(n)
    return status?.isBooted === true ? undefined : 'still booting'
  })
}

/** True while the start script runs, which becomes the server only after a moment. */
function isStarting(n: number): boolean {
  return ownedProcesses().some(({ owner }) => owner === label('rabbit', n))
}

async function launch(n: number, { netTicktimeSeconds }: Settings): Promise<void> {
  const { host, port } = node('rabbit', n)
  const dir = kindDir('rabbit')
  const env = {
    PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    LANG: 'C.UTF-8',
    HOME: dir,
    ERL_EPMD_PORT: String(EPMD_PORT),
    RABBITMQ_NODENAME: erlangName(n),
    RABBITMQ_NODE_IP_ADDRESS: host,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distributionPort(n)),
    RABBITMQ_MNESIA_BASE: nodeDir('rabbit', n),
    RABBITMQ_LOG_BASE: nodeDir('rabbit', n),
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_CONFIG_FILE: configFile(n),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, 'enabled_plugins'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: [
      '+S 1:1 +sbwt none',
      `-kernel net_ticktime ${netTicktimeSeconds}`,
      // An address of its own for connections between the nodes, by which `partition` can tell them apart.
      `-kernel inet_dist_connect_options [{ip,{${host.replaceAll('.', ',')}}}]`,
    ].join(' '),
  }
  await spawnDetached('/usr/lib/rabbitmq/bin/rabbitmq-server', [], {
    owner: label('rabbit', n),
    log: nodeLog('rabbit', n),
    env,
    ...account('rabbitmq'),
  })
}

/** Started before the nodes, which would else start one themselves, unmarked and for good. */
async function startPortMapper(): Promise<void> {
  if (ownedProcesses().some(({ owner }) => owner === EPMD_OWNER)) return
  const log = join(kindDir('rabbit'), 'epmd.log')
  const args = ['-port', String(EPMD_PORT), '-address', '127.0.0.1']
  await spawnDetached('epmd', args, { owner: EPMD_OWNER, log, ...account('rabbitmq') })
  await waitFor('epmd', { timeoutMs: 10_000, everyMs: 20, log }, async () =>
    (await accepts('127.0.0.1', EPMD_PORT)) ? undefined : 'does not listen',
  )
}

async function inspect(n: number): Promise<Inspection> {
  const status = await rabbitStatus(n)
  if (status === undefined) return { isMember: false, role: 'no answer' }
  const isMember = status.isBooted && status.running.length === NUMBERS.length && status.partitions.length === 0
  return { isMember, role: describe(status) }
}

function describe({ isBooted, running, partitions, alarms, uptimeSeconds }: RabbitStatus): string {
  const list = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.toSorted().join(' '))
  return [
    isBooted ? 'running' : 'booting',
    `cluster ${list(running)}`,
    `partitions ${list(partitions)}`,
    `alarms ${list(alarms)}`,
    `up ${uptimeSeconds} s`,
  ].join(', ')
}

async function apply({ netTicktimeSeconds }: Settings): Promise<void> {
  const alive = NUMBERS.filter((n) => serverProcess(rabbit, n)?.isFrozen === false)
  for (const n of alive) {
    // The second argument is the time for the change, by default a whole minute.
    const change = `net_kernel:set_net_ticktime(${netTicktimeSeconds}, 1)`
    await evaluate(n, `io_lib:format("~p", [${change}])`)
  }
}

/** Raises or clears the memory alarm of one node; the whole cluster then blocks its publishers. */
export async function setMemoryAlarm(n: number, isOn: boolean): Promise<void> {
  const watermark = isOn ? '0.0000001' : '0.4'
  await evaluate(n, `io_lib:format("~p", [vm_memory_monitor:set_vm_memory_high_watermark(${watermark})])`)
  await waitFor(`memory alarm of rabbit ${n}`, { timeoutMs: 15_000, everyMs: 50 }, async () => {
    const status = await rabbitStatus(n)
    if (status === undefined) return 'no answer'
    return status.alarms.includes('memory') === isOn ? undefined : `alarms: ${status.alarms.join(', ')}`
  })
}
