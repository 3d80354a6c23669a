/** Command line of the benchmarks: `npm run bench -- failover mysql`. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { UpOptions } from '../test/cluster/index.js'
import { type FaultName, isFaultName } from '../test/harness/index.js'
import { AMQP_ROWS, AMQP_TABLE, estimatedMinutes } from './amqp-rows.js'
import { amqpOutage, outageProblems, outageTable } from './amqp-outage.js'
import { amqpOverhead, amqpOverheadTable, isReached } from './amqp-overhead.js'
import { chosen, isOurs, KIND_OF, type Service } from './catalogue.js'
import { failover, failoverTable } from './failover.js'
import { forUpdate, forUpdateTable, ratesTable, transferClients } from './for-update/index.js'
import type { TransferFault } from './for-update/run.js'
import { installPeers } from './install-peers.js'
import { claimed, onCluster } from './on-cluster.js'
import { cacheOverhead, cacheOverheadTable, missedOverheadGoals } from './memcached-overhead.js'
import { isRingFast, ringCosts, ringTable } from './ring.js'
import { missedRpcSpeed, rpcOverhead, rpcOverheadTable } from './rpc/overhead.js'
import { RPC_ROWS, RPC_TABLE } from './rpc/rows.js'
import { splitView, splitViewTable } from './split-view/index.js'
import { mysqlOverhead, OVERHEAD_GOAL, overheadTable } from './overhead.js'

const USAGE = `usage: npm run bench -- failover mysql|amqp|memcached|rpc [options]
       npm run bench -- overhead mysql|amqp|memcached [options]
       npm run bench -- outage amqp [options]
       npm run bench -- for-update [options]
       npm run bench -- rpc [options]
       npm run bench -- ring
       npm run bench -- split-view [--seconds S]

failover: how long clients are without service, and what their callers are told
  --runs N        runs of each client with each fault; the table has the worst (1)
  --faults LIST   of none kill stop freeze blackhole reject reset partition
                  read-only desync (mysql); of amqp also freeze-idle
                  blackhole-idle next-silent next-silent-cold two-down
                  all-down alarm; of rpc also kill-together freeze-together,
                  where the server is on the node that is hit
                  (kill,freeze,blackhole; of amqp all that have a goal)
  --peers LIST    clients by name; 'ours' for ours, 'none' for ours alone (all)
  --seconds S     how long is looked at after the fault (15; of amqp and rpc
                  what the row takes)

overhead: what ours costs, compared with the driver below it, or with other clients of memcached
  --runs N        pairs of rounds for each line of the table (100; of memcached 40)
  --round-ms MS   how long one round takes (50)
  --peers LIST    of memcached: clients by name (all)

rpc: calls, compared with request and reply on amqplib, and with Python's oslo.messaging
  --runs N        pairs of rounds for each line of the table (60)
  --round-ms MS   how long one round takes (50)

outage: no broker at all for --seconds S (600) while 5,000 messages per second are offered

for-update: SELECT ... FOR UPDATE transfers in several processes, the writer lost in the middle (mysql)
  --runs N        runs of each client with each fault (1)
  --faults LIST   kill of the writer, blackhole of one process (kill,blackhole);
                  none for the rates alone
  --peers LIST    clients by name; 'ours' for ours, 'none' for ours alone (all)
  --seconds S     how long is looked at before and after the fault (6)
  --turns N       turns in which the rates are compared, without fault; 0 leaves that out (15)

ring: what an eviction and a look-up cost in the ring of memcached nodes

split-view: what processes that do not see the same nodes of memcached read of each other's writes, and for how long
  --seconds S     how long the view is split (3)

  --json FILE     write everything that was measured to a file
  --suspect-timeout-ms MS, --net-ticktime S   change the clusters for these runs

Exits with 1 when a fault did not bite, when our client broke a promise, or when a goal was missed.`

const progress = (line: string): void => console.error(line)

type Values = ReturnType<typeof parse>['values']

const VERBS: Readonly<Record<string, (service: string | undefined, values: Values) => Promise<boolean>>> = {
  failover: async (service, values) => {
    if (!isService(service)) throw new Error(USAGE)
    const plan = {
      service,
      subjects: chosen(service, values.peers),
      faults: faults(service, values.faults),
      runs: count(values.runs ?? '1'),
      seconds: values.seconds === undefined ? undefined : count(values.seconds),
    }
    if (service === 'amqp') progress(`about ${estimatedMinutes(plan, upOptions(values).netTicktimeSeconds)} minutes`)
    if (service !== 'rpc' && !plan.subjects.every(isOurs)) installPeers()
    return onCluster(KIND_OF[service], upOptions(values), async () => {
      const { results, problems } = await failover(plan, progress)
      save(values, results)
      console.log(failoverTable(results, plan))
      for (const problem of problems) console.log(`\n${problem}`)
      return problems.length === 0
    })
  },
  overhead: async (service, values) => {
    if (service === 'memcached') return memcachedOverhead(values)
    if (service === 'amqp') return overheadOfAmqp(values)
    if (service !== 'mysql') throw new Error(USAGE)
    const plan = { pairs: count(values.runs ?? '100'), roundMs: count(values['round-ms']) }
    const options = upOptions(values)
    return onCluster('galera', options, async () => {
      const results = await claimed('galera', options, () => mysqlOverhead(plan, progress))
      save(values, results)
      console.log(overheadTable(results, plan))
      return results.every(({ ratio }) => ratio.median >= OVERHEAD_GOAL)
    })
  },
  rpc: async (_service, values) => {
    const plan = { pairs: count(values.runs ?? '60'), roundMs: count(values['round-ms']) }
    const options = upOptions(values)
    return onCluster('rabbit', options, async () => {
      const results = await claimed('rabbit', options, () => rpcOverhead(plan, progress))
      save(values, results)
      console.log(rpcOverheadTable(results, plan))
      return !results.some(missedRpcSpeed)
    })
  },
  ring: (_service, values) => {
    const costs = ringCosts()
    save(values, costs)
    console.log(ringTable(costs))
    return Promise.resolve(isRingFast(costs))
  },
  'split-view': async (_service, values) => {
    const plan = { splitMs: count(values.seconds ?? '3') * 1000, afterMs: 8000 }
    const options = upOptions(values)
    return onCluster('memcached', options, async () => {
      for (const writer of ['lives', 'dies'] as const) {
        const views = await claimed('memcached', options, () => splitView(writer, plan))
        console.log(`${splitViewTable(writer, views, plan)}\n`)
      }
      return true
    })
  },
  outage: async (service, values) => {
    if (service !== 'amqp') throw new Error(USAGE)
    const plan = { seconds: count(values.seconds ?? '600'), perSecond: 5000 }
    const options = upOptions(values)
    return onCluster('rabbit', options, async () => {
      const result = await claimed('rabbit', options, () => amqpOutage(plan, progress))
      save(values, result)
      console.log(outageTable(result, plan))
      const problems = outageProblems(result)
      for (const problem of problems) console.log(`\n${problem}`)
      return problems.length === 0
    })
  },
  'for-update': async (_service, values) => {
    const plan = {
      clients: transferClients(values.peers),
      faults: (values.faults ?? 'kill,blackhole')
        .split(',')
        .filter((word) => word !== 'none')
        .map(transferFault),
      runs: count(values.runs ?? '1'),
      seconds: count(values.seconds ?? '6'),
      turns: values.turns === '0' ? 0 : count(values.turns ?? '15'),
    }
    const options = upOptions(values)
    return onCluster('galera', options, async () => {
      const { results, rates, problems } = await claimed('galera', options, () => forUpdate(plan, progress))
      save(values, { results, rates })
      if (results.length > 0) console.log(`${forUpdateTable(results, plan)}\n`)
      if (rates.length > 0) console.log(ratesTable(rates, plan))
      for (const problem of problems) console.log(`\n${problem}`)
      return problems.length === 0
    })
  },
}

async function memcachedOverhead(values: Values): Promise<boolean> {
  const subjects = ['ours', ...chosen('memcached', values.peers).filter((name) => !isOurs(name))]
  const plan = { subjects, turns: count(values.runs ?? '40'), roundMs: count(values['round-ms']) }
  if (subjects.length > 1) installPeers()
  const options = upOptions(values)
  return onCluster('memcached', options, async () => {
    const results = await claimed('memcached', options, () => cacheOverhead(plan, progress))
    save(values, results)
    console.log(cacheOverheadTable(results, plan))
    const missed = missedOverheadGoals(results, plan)
    for (const words of missed) console.log(`\n${words}`)
    return missed.length === 0
  })
}

const exitCode = await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  return 1
})
// What a client has left open after it lost an answer must not keep this alive.
process.exit(exitCode)

async function main(): Promise<number> {
  const { positionals, values } = parse()
  const [verb, service] = positionals
  const run = VERBS[verb ?? '']
  if (run === undefined) throw new Error(USAGE)
  return (await run(service, values)) ? 0 : 1
}

async function overheadOfAmqp(values: Values): Promise<boolean> {
  const plan = { pairs: count(values.runs ?? '60'), roundMs: count(values['round-ms']) }
  const options = upOptions(values)
  return onCluster('rabbit', options, async () => {
    const results = await claimed('rabbit', options, () => amqpOverhead(plan, progress))
    save(values, results)
    console.log(amqpOverheadTable(results, plan))
    return results.every(isReached)
  })
}

function upOptions(values: Values): UpOptions {
  const suspectTimeout = values['suspect-timeout-ms']
  const netTicktime = values['net-ticktime']
  return {
    progress,
    ...(suspectTimeout === undefined ? {} : { suspectTimeoutMs: count(suspectTimeout) }),
    ...(netTicktime === undefined ? {} : { netTicktimeSeconds: count(netTicktime) }),
  }
}

function save({ json }: Values, results: unknown): void {
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(results, undefined, 2)}\n`)
}

function parse() {
  return parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: 'string' },
      faults: { type: 'string' },
      peers: { type: 'string' },
      turns: { type: 'string' },
      seconds: { type: 'string' },
      'round-ms': { type: 'string', default: '50' },
      json: { type: 'string' },
      'suspect-timeout-ms': { type: 'string' },
      'net-ticktime': { type: 'string' },
    },
  })
}

function isService(word: string | undefined): word is Service {
  return word !== undefined && Object.keys(KIND_OF).includes(word)
}

/** The faults of the command line; of the broker and RPC, rows of their tables. */
function faults(service: Service, list: string | undefined): readonly string[] {
  const known = service === 'amqp' ? AMQP_ROWS : service === 'rpc' ? RPC_ROWS : undefined
  if (known === undefined) return (list ?? 'kill,freeze,blackhole').split(',').map(faultName)
  const rows = list?.split(',') ?? (service === 'amqp' ? AMQP_TABLE : RPC_TABLE)
  const unknown = rows.filter((name) => known[name] === undefined)
  if (unknown.length > 0) throw new Error(`there is no fault '${unknown.join(', ')}'\n\n${USAGE}`)
  return rows
}

function faultName(name: string): FaultName {
  if (!isFaultName(name)) throw new Error(`there is no fault '${name}'\n\n${USAGE}`)
  return name
}

function transferFault(name: string): TransferFault {
  if (name !== 'kill' && name !== 'blackhole') throw new Error(`for-update has no fault '${name}'\n\n${USAGE}`)
  return name
}

function count(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`'${text}' is not a number above 0`)
  return value
}
