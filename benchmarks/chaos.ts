/** `npm run chaos -- mysql|amqp|memcached --minutes N [--seed N] [--faults LIST]`: random faults on all nodes. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import * as cluster from '../test/cluster/index.js'
import {
  chaos,
  type ChaosResult,
  chaosViolations,
  type FaultName,
  isFaultName,
  memcachedChaosScene,
  memcachedChaosViolations,
  OUR_ADDRESS,
} from '../test/harness/index.js'
import { CATALOGUE, CHAOS_CLIENT, KIND_OF, type Service } from './catalogue.js'

const USAGE = `usage: npm run chaos -- mysql|amqp|memcached [options]

  --minutes N     how long (1)
  --client NAME   which of ours (the exactly-once transactions of mysql, else the only one)
  --seed N        repeats an earlier run's faults (random, and printed)
  --faults LIST   some faults only
  --json FILE     write everything that was counted to a file

Exits with 1 when anything was lost, done twice, stale, wrong, left unsettled or unhandled; of memcached also when
its hit rate is more than 3 points below that of a client that trusts a node that comes back, or when a call failed.`

/** A message of the broker is worked on for a random part of this: acknowledgements have to be under way at a fault. */
const HANDLER_MS = 20

const progress = (line: string): void => console.error(line)

try {
  process.exitCode = await main()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
// Whatever a client has left behind must not keep the command from ending.
process.exit()

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      minutes: { type: 'string', default: '1' },
      client: { type: 'string' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      faults: { type: 'string' },
      json: { type: 'string' },
    },
  })
  const service = Object.keys(KIND_OF).find((name): name is Service => name === positionals[0])
  const name = values.client ?? (service && CHAOS_CLIENT[service])
  if (service === undefined || name === undefined) throw new Error(USAGE)
  const isCache = service === 'memcached' && name === CHAOS_CLIENT.memcached
  const make = isCache ? () => memcachedChaosScene(OUR_ADDRESS) : CATALOGUE[service][name]
  const [seconds, seed] = [Number(values.minutes) * 60, Number(values.seed)]
  if (make === undefined || !(seconds > 0) || !Number.isInteger(seed)) throw new Error(USAGE)
  const kind = KIND_OF[service]
  const release = await cluster.claim([kind], { progress })
  const { started } = await cluster.up([kind], { progress })
  try {
    progress(`chaos ${service}, ${name}, ${seconds} s, --seed ${seed}`)
    const faults = values.faults?.split(',').map(faultName)
    const result = await chaos(make({ handlerMs: HANDLER_MS }), {
      seconds,
      seed,
      progress,
      ...(faults === undefined ? {} : { faults }),
    })
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, undefined, 2)}\n`)
    const violations = isCache ? memcachedChaosViolations(result) : chaosViolations(result)
    console.log(summary(result, violations))
    return violations.length === 0 ? 0 : 1
  } finally {
    // Whole again for whoever comes next, or gone when nobody had it before.
    if (started.length > 0) await cluster.down(started)
    else await cluster.up([kind])
    release()
  }
}

function summary(result: ChaosResult, violations: readonly string[]): string {
  const { findings, faults, errors } = result
  const { notes, examples, ...counts } = findings
  const kinds = new Map<string, number>()
  for (const { fault } of faults) kinds.set(fault, (kinds.get(fault) ?? 0) + 1)
  const words = (entries: Iterable<readonly [string, unknown]>): string =>
    [...entries].map(([name, value]) => `${name} ${String(value)}`).join(', ') || 'none'
  return [
    `${result.subject}: ${result.seconds} s, seed ${result.seed}, ${words(Object.entries(result.cluster))}`,
    `faults: ${faults.length} (${words(kinds)})`,
    `operations: ${result.acknowledged} of ${result.started} acknowledged, ${Math.round(result.ratePerSecond)} per second, longest gap ${Math.round(result.longestGapMs)} ms`,
    `errors: ${words(Object.entries(errors))}`,
    `further longest gaps: ${words(Object.entries(result.series).map(([name, ms]) => [name, `${Math.round(ms)} ms`]))}`,
    `failovers reported: ${result.failovers}`,
    `found: ${words(Object.entries({ ...counts, unsettled: result.unsettled, unhandled: result.unhandled.length }))}`,
    `notes: ${words(Object.entries(notes))}`,
    ...examples,
    ...result.unhandled,
    violations.length === 0 ? 'every promise was kept' : `BROKEN: ${violations.join(', ')}`,
  ].join('\n')
}

function faultName(name: string): FaultName {
  if (!isFaultName(name)) throw new Error(`there is no fault '${name}'`)
  return name
}
