import type { MemcachedClient } from '../src/memcached/index.js'
import { freeze, nodes, thaw } from '../test/cluster/index.js'
import { type CacheSubject, type OurMemcached, sleep, until, within } from '../test/harness/index.js'
import { CACHES } from './catalogue.js'
import { type Contender, operationsInTurn, speed, type Speed, type Spread, spreadOf } from './in-turns.js'
import { table } from './table.js'

/** How much is measured. */
export interface CacheOverheadPlan {
  /** Clients by the names of the command line; ours is one of them. */
  readonly subjects: readonly string[]
  /** Turns, of one round of each client, for each line of the table. */
  readonly turns: number
  readonly roundMs: number
}

/** One client at one kind of work; one that lost an operation before it was measured has none. */
export interface CacheOverhead {
  readonly client: string
  readonly work: Work
  readonly inFlight: number
  readonly nodeCount: number
  readonly speed: Speed
  /** How much faster ours was, turn by turn, and by processor time; 1 for ours itself. */
  readonly ratio: Spread
  readonly cpuRatio: Spread
  /** Rounds that were measured: fewer than asked for of a client that lost an operation. */
  readonly rounds: number
  /** Operations that failed or did not find what is stored. */
  readonly failed: number
}

type Work = 'get' | 'set' | 'getMany'

/** Lines of the table, and how much faster than the fastest of the others ours has to be. */
const LINES: readonly { readonly work: Work; readonly inFlight: number; readonly goal: number }[] = [
  { work: 'get', inFlight: 1, goal: 0.95 },
  { work: 'get', inFlight: 32, goal: 1.8 },
  { work: 'get', inFlight: 256, goal: 3 },
  { work: 'set', inFlight: 1, goal: 0.95 },
  { work: 'set', inFlight: 32, goal: 1.8 },
  { work: 'set', inFlight: 256, goal: 3 },
  { work: 'getMany', inFlight: 1, goal: 3 },
]
/** Processor time of a get with 32 in flight, memjs to ours. */
const CPU_GOAL = 2
const KEYS = Array.from({ length: 1000 }, (_, i) => `tokens/${'0123456789abcdef'.repeat(2)}${1000 + i}`)
const MANY = 100
const VALUE = 'x'.repeat(200)
/** A node that was away for longer than 10 s: from then on the age of every value is checked. */
const AWAY_MS = 10_500
const RETURN_LIMIT_MS = 20_000
const STORE_LIMIT_MS = 10_000

/** Ours against each of the others, in turns, on one node, for which the goals are, and on all of them. */
export async function cacheOverhead(
  plan: CacheOverheadPlan,
  progress: (line: string) => void,
): Promise<readonly CacheOverhead[]> {
  const results: CacheOverhead[] = []
  const all = nodes('memcached')
  for (const used of [all.slice(0, 1), all]) {
    const servers = used.map(({ host, port }) => `${host}:${port}`)
    const subjects = new Map(plan.subjects.map((name) => [name, (CACHES[name] as () => CacheSubject)()]))
    try {
      for (const subject of subjects.values()) await subject.open(servers)
      progress(
        `${used.length} node${used.length === 1 ? '' : 's'}: away for ${AWAY_MS / 1000} s, so that ages are checked`,
      )
      await checkAges((subjects.get('ours') as OurMemcached).client, used)
      for (const { work, inFlight } of LINES) {
        progress(`${used.length} node${used.length === 1 ? '' : 's'}, ${work}, ${inFlight} in flight`)
        const able = await thoseThatStore(subjects, progress)
        results.push(...(await compare(able, { work, inFlight, nodeCount: used.length }, plan)))
      }
    } finally {
      for (const subject of subjects.values()) await subject.close()
    }
  }
  return results
}

/** Freezes the nodes for so long that our client asks for the CAS id of every value from then on. */
async function checkAges(client: MemcachedClient, used: ReturnType<typeof nodes>): Promise<void> {
  for (const { n } of used) await freeze('memcached', n)
  try {
    const isOut = (): boolean => client.status().hosts.every(({ state }) => state !== 'live')
    await until('nodes out', RETURN_LIMIT_MS, async () => {
      for (let i = 0; i < 20; i += 1) await client.get(`away ${i}`).catch(() => undefined)
      return isOut()
    })
    await sleep(AWAY_MS)
  } finally {
    for (const { n } of used) await thaw('memcached', n)
  }
  await until('nodes back, with ages checked', RETURN_LIMIT_MS, () =>
    client.status().hosts.every(({ state, hasWatermark }) => state === 'live' && hasWatermark),
  )
}

async function compare(
  subjects: ReadonlyMap<string, CacheSubject>,
  line: Pick<CacheOverhead, 'work' | 'inFlight' | 'nodeCount'>,
  { turns, roundMs }: CacheOverheadPlan,
): Promise<readonly CacheOverhead[]> {
  const contenders: Contender[] = []
  const failed: number[] = []
  for (const [i, subject] of [...subjects.values()].entries()) {
    const operate = operationOf(line.work, subject)
    failed.push(0)
    const count = (): void => {
      failed[i] = (failed[i] ?? 0) + 1
    }
    contenders.push({ operate: () => operate().catch(count) })
  }
  const rounds = await operationsInTurn(contenders, { inFlight: line.inFlight, pairs: turns, roundMs })
  const ours = rounds[[...subjects.keys()].indexOf('ours')] ?? []
  return [...subjects.keys()].flatMap((client, i) => {
    const each = rounds[i] ?? []
    if (each.length === 0) return []
    const ratio = spreadOf(ours, each, ({ elapsedMs }) => elapsedMs)
    const cpuRatio = spreadOf(ours, each, ({ cpuMicroseconds }) => cpuMicroseconds)
    return [{ ...line, client, speed: speed(each, 1), ratio, cpuRatio, rounds: each.length, failed: failed[i] ?? 0 }]
  })
}

/** Stores what is read. A client that cannot, because it has lost an operation before, would hold up the others; ours must. */
async function thoseThatStore(
  subjects: ReadonlyMap<string, CacheSubject>,
  progress: (line: string) => void,
): Promise<ReadonlyMap<string, CacheSubject>> {
  const able = new Map<string, CacheSubject>()
  for (const [name, subject] of subjects) {
    let isLate = false
    const store = async (): Promise<void> => {
      for (const key of KEYS) if (!isLate) await subject.set(key, VALUE)
    }
    try {
      await within(STORE_LIMIT_MS, name, store())
      able.set(name, subject)
    } catch (error) {
      isLate = true
      if (name === 'ours') throw error
      progress(`  without ${name}: ${String(error)}`)
    }
  }
  return able
}

/** Every answer is looked at: a client that finds nothing would be the fastest. Rejects when it is not what is stored. */
function operationOf(work: Work, subject: CacheSubject): () => Promise<void> {
  let next = 0
  const key = (): string => KEYS[(next += 1) % KEYS.length] as string
  switch (work) {
    case 'set':
      return () => subject.set(key(), VALUE)
    case 'get':
      return async () => {
        const value = await subject.get(key())
        if (value?.length !== VALUE.length) throw new Error(`${subject.name} found ${String(value)}`)
      }
    case 'getMany':
      return async () => {
        const from = (next += MANY) % (KEYS.length - MANY)
        const wanted = KEYS.slice(from, from + MANY)
        const count = await (subject.getMany?.(wanted) ?? oneByOne(subject, wanted))
        if (count !== MANY) throw new Error(`${subject.name} found ${count} of ${MANY}`)
      }
  }
}

/** For clients that cannot ask for many at once. */
async function oneByOne(subject: CacheSubject, keys: readonly string[]): Promise<number> {
  const values = await Promise.all(keys.map((key) => subject.get(key)))
  return values.filter((value) => value !== undefined).length
}

/** Goals that were missed, in words. They are for one node and a quiet machine. */
export function missedOverheadGoals(
  results: readonly CacheOverhead[],
  { subjects, turns }: CacheOverheadPlan,
): readonly string[] {
  const failures = [1, nodes('memcached').length].flatMap((nodeCount) =>
    LINES.flatMap(({ work, inFlight }) => {
      const ours = results.find(
        (one) => one.client === 'ours' && one.nodeCount === nodeCount && one.work === work && one.inFlight === inFlight,
      )
      if (ours?.rounds === turns && ours.failed === 0) return []
      const what =
        ours === undefined || ours.failed === 0 ? 'an operation of ours was lost' : `${ours.failed} of ours failed`
      return [`${nodeCount} nodes, ${work}, ${inFlight} in flight: ${what}`]
    }),
  )
  return failures.concat(subjects.length > 1 ? missedSpeed(results) : [])
}

function missedSpeed(results: readonly CacheOverhead[]): readonly string[] {
  return LINES.flatMap(({ work, inFlight, goal }) => {
    const peers = results.filter(
      (one) => one.work === work && one.inFlight === inFlight && one.nodeCount === 1 && one.client !== 'ours',
    )
    const where = `${work}, ${inFlight} in flight`
    const slow = peers.filter(({ ratio }) => ratio.median < goal)
    const memjs = peers.find(({ client }) => client === 'memjs')
    const isHungry = work === 'get' && inFlight === 32 && memjs !== undefined && memjs.cpuRatio.median < CPU_GOAL
    return [
      ...(peers.length === 0 ? [`${where}: no other client is left to compare with`] : []),
      ...slow.map(({ client, ratio }) => `${where}: ${ratio.median.toFixed(2)} times ${client}, not ${goal}`),
      ...(isHungry ? [`${where}: more than half of the processor time of memjs`] : []),
    ]
  })
}

export function cacheOverheadTable(results: readonly CacheOverhead[], { turns, roundMs }: CacheOverheadPlan): string {
  const header = ['nodes', 'work', 'in flight', 'client', 'per s', 'cpu us', 'ours / it', 'quartiles', 'by cpu', 'failed', 'goal'] // prettier-ignore
  const rows = results.map((one) => {
    const { client, work, inFlight, nodeCount, ratio, cpuRatio, failed } = one
    const isOurs = client === 'ours'
    const goal = LINES.find((line) => line.work === work && line.inFlight === inFlight)?.goal ?? 0
    const verdict = ratio.median >= goal ? 'reached' : 'MISSED'
    return [
      String(nodeCount),
      work === 'getMany' ? `getMany of ${MANY}` : work,
      String(inFlight),
      client,
      String(Math.round(one.speed.perSecond)),
      one.speed.cpuMicroseconds.toFixed(2),
      isOurs ? '' : ratio.median.toFixed(2),
      isOurs ? '' : `${ratio.low.toFixed(2)}-${ratio.high.toFixed(2)}`,
      isOurs ? '' : cpuRatio.median.toFixed(2),
      String(failed),
      isOurs || nodeCount > 1 ? '' : `>= ${goal} ${verdict}`,
    ]
  })
  return `memcached overhead, values of ${VALUE.length} bytes; median of ${turns} turns of rounds of about ${roundMs} ms; ours with its ring, checks and CAS ids on; cpu: processor time of this process\n\n${table(header, rows)}`
}
