/** Command line of the benchmarks: `npm run bench -- failover mysql`. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import * as cluster from '../test/cluster/index.js'
import { type FaultName, isFaultName } from '../test/harness/index.js'
import { chosen, isOurs, KIND_OF, type Service } from './catalogue.js'
import { failover, failoverTable } from './failover.js'
import { installPeers } from './install-peers.js'

const USAGE = `usage: npm run bench -- failover mysql|amqp|memcached [options]

  --runs N        runs of each client with each fault; the table has the worst (1)
  --faults LIST   of none kill stop freeze blackhole reject reset partition
                  read-only desync (mysql) alarm (amqp)    (kill,freeze,blackhole)
  --peers LIST    clients by name; 'ours' for ours, 'none' for ours alone (all)
  --seconds S     how long is looked at after the fault (15)
  --json FILE     write everything that was measured to a file
  --suspect-timeout-ms MS, --net-ticktime S   change the clusters for these runs

Exits with 1 when a fault did not bite, or when our client broke a promise.`

const progress = (line: string): void => console.error(line)

try {
  process.exitCode = await main()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

async function main(): Promise<number> {
  const { positionals, values } = parse()
  const [verb, service] = positionals
  if (verb !== 'failover' || !isService(service)) throw new Error(USAGE)
  const plan = {
    service,
    subjects: chosen(service, values.peers),
    faults: values.faults.split(',').map(faultName),
    runs: count(values.runs),
    seconds: count(values.seconds),
  }
  if (!plan.subjects.every(isOurs)) installPeers()
  const started = await prepare(KIND_OF[service], values)
  try {
    const { results, problems } = await failover(plan, progress)
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, undefined, 2)}\n`)
    console.log(failoverTable(results, plan))
    for (const problem of problems) console.log(`\n${problem}`)
    return problems.length === 0 ? 0 : 1
  } finally {
    await cluster.down(started)
  }
}

/** Makes the cluster whole; returns what did not exist before, and is to be taken down again. */
async function prepare(
  kind: cluster.Kind,
  values: ReturnType<typeof parse>['values'],
): Promise<readonly cluster.Kind[]> {
  const suspectTimeout = values['suspect-timeout-ms']
  const netTicktime = values['net-ticktime']
  const release = await cluster.claim([kind], { progress })
  try {
    const { started } = await cluster.up([kind], {
      progress,
      ...(suspectTimeout === undefined ? {} : { suspectTimeoutMs: count(suspectTimeout) }),
      ...(netTicktime === undefined ? {} : { netTicktimeSeconds: count(netTicktime) }),
    })
    return started
  } finally {
    release()
  }
}

function parse() {
  return parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: 'string', default: '1' },
      faults: { type: 'string', default: 'kill,freeze,blackhole' },
      peers: { type: 'string' },
      seconds: { type: 'string', default: '15' },
      json: { type: 'string' },
      'suspect-timeout-ms': { type: 'string' },
      'net-ticktime': { type: 'string' },
    },
  })
}

function isService(word: string | undefined): word is Service {
  return word !== undefined && Object.keys(KIND_OF).includes(word)
}

function faultName(name: string): FaultName {
  if (!isFaultName(name)) throw new Error(`there is no fault '${name}'\n\n${USAGE}`)
  return name
}

function count(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`'${text}' is not a number above 0`)
  return value
}
