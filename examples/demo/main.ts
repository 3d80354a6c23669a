import * as cluster from '../../test/cluster/index.js'
import { watchUnhandled, Workload, type UnhandledWatch } from '../../test/harness/index.js'
import { ACTS, calm, perform, type ActResult } from './acts.js'
import { Screen } from './screen.js'
import { TokenService } from './token-service.js'
import { judge, table } from './verdict.js'

const WORKERS = 16
const REQUESTS_PER_SECOND = 60
const SETTLE_MS = 10_000

/** Runs the service, kills one node of each kind in turn, and returns true when nothing was lost. */
async function show(service: TokenService, unhandled: UnhandledWatch): Promise<boolean> {
  await service.open()
  const load = new Workload({
    workers: WORKERS,
    ratePerSecond: REQUESTS_PER_SECOND,
    operate: (operation) => service.issue(operation),
  })
  const screen = new Screen(service, load)
  const results: ActResult[] = []
  const from = performance.now()
  let to = from
  load.start()
  screen.start()
  try {
    for (const act of ACTS) results.push(await perform(act, service, (line) => screen.say(line)))
    await calm()
  } finally {
    to = performance.now()
    await load.finish(SETTLE_MS)
    screen.stop()
  }
  const verdict = await judge(service, load, results, unhandled, { from, to })
  console.log(table(verdict))
  return verdict.problems.length === 0
}

async function showWatched(): Promise<boolean> {
  const unhandled = watchUnhandled()
  const service = new TokenService()
  try {
    return await show(service, unhandled)
  } finally {
    await service.close()
    unhandled.stop()
  }
}

async function main(): Promise<void> {
  const progress = (line: string): void => console.log(line)
  const release = await cluster.claim(cluster.KINDS, { progress })
  let started: readonly cluster.Kind[] = []
  const tidyUp = async (): Promise<void> => {
    await cluster.heal()
    await cluster.down(started, { progress })
    release()
  }
  const interrupted = (): void => {
    console.log('interrupted: taking down what was started')
    void tidyUp().finally(() => process.exit(130))
  }
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    console.log('Real clusters on loopback addresses: 3 Galera, 3 RabbitMQ and 4 memcached nodes')
    started = (await cluster.up(cluster.KINDS, { progress })).started
    process.exitCode = (await showWatched()) ? 0 : 1
  } finally {
    await tidyUp()
  }
}

await main()
