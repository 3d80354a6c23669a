import { percentile, within } from '../test/harness/index.js'

/** One of two clients that are compared at the same operation. */
export interface Contender {
  readonly operate: () => Promise<unknown>
}

/** How two clients are compared. */
export interface Turns {
  readonly inFlight: number
  /** Pairs of rounds, one of each client. */
  readonly pairs: number
  /** About how long a round takes. */
  readonly roundMs: number
}

/** What the rounds of one client cost. */
export interface Speed {
  readonly perSecond: number
  /** Processor time of this process. */
  readonly cpuMicroseconds: number
}

/** The middle half of many figures. */
export interface Spread {
  readonly low: number
  readonly median: number
  readonly high: number
}

/** How fast the first client is, compared with the second. */
export interface Comparison {
  /** First to second, operations per second, pair by pair. */
  readonly ratio: Spread
  /** Second to first, processor time of this process: the same, but a busy machine disturbs it less. */
  readonly cpuRatio: Spread
  readonly first: Speed
  readonly second: Speed
}

/** What so many operations in a row took. */
export interface Round {
  readonly elapsedMs: number
  readonly cpuMicroseconds: number
}

/** Share of a round that is run before it without being measured: connections that idled are looked at, caches fill. */
const WARM_SHARE = 0.2
/** The optimizing compiler is done with both long before. */
const WARM_MS = 1000
/** More than a hundred times what a round takes. */
const ROUND_LIMIT_MS = 15_000

/**
 * Lets two clients do the same work in turns, A B B A A B B A and so on, in many short rounds.
 *
 * The machine's speed drifts by more than the difference that is looked for; it drifts little within a pair. Garbage is
 * left to be collected when it is: full collections between the rounds undo what the compiler learnt, and made both
 * clients more than twice as slow.
 */
export async function compareInTurns(first: Contender, second: Contender, turns: Turns): Promise<Comparison> {
  const { inFlight, pairs, roundMs } = turns
  const slowest = Math.min(await warm(first, inFlight), await warm(second, inFlight))
  const count = Math.max(inFlight, Math.round((slowest * roundMs) / 1000))
  const measured = async (contender: Contender): Promise<Round> => {
    await operate(contender, inFlight, Math.ceil(count * WARM_SHARE))
    return operate(contender, inFlight, count)
  }
  return compareRounds(
    () => measured(first),
    () => measured(second),
    { pairs, count },
  )
}

/** Compares rounds of `count` operations each, A B B A A B B A and so on. */
export async function compareRounds(
  first: () => Promise<Round>,
  second: () => Promise<Round>,
  { pairs, count }: { readonly pairs: number; readonly count: number },
): Promise<Comparison> {
  const firsts: Round[] = []
  const seconds: Round[] = []
  for (let pair = 0; pair < pairs; pair += 1) {
    const order = [async () => firsts.push(await first()), async () => seconds.push(await second())]
    for (const round of pair % 2 === 0 ? order : order.reverse()) await round()
  }
  return {
    ratio: spreadOf(firsts, seconds, ({ elapsedMs }) => elapsedMs),
    cpuRatio: spreadOf(firsts, seconds, ({ cpuMicroseconds }) => cpuMicroseconds),
    first: speed(firsts, count),
    second: speed(seconds, count),
  }
}

/** What the second took, divided by what the first did, round by round. */
export function spreadOf(firsts: readonly Round[], seconds: readonly Round[], cost: (round: Round) => number): Spread {
  const ratios = firsts.flatMap((round, i) => {
    const other = seconds[i]
    return other === undefined ? [] : [cost(other) / cost(round)]
  })
  return { low: percentile(ratios, 0.25), median: percentile(ratios, 0.5), high: percentile(ratios, 0.75) }
}

/**
 * Any number of clients in turns, each with as many operations as it can do in a round: what one operation took.
 *
 * A client that loses an operation would hold up all others for ever: it has no more rounds from then on.
 */
export async function operationsInTurn(contenders: readonly Contender[], turns: Turns): Promise<readonly Round[][]> {
  const { inFlight, pairs, roundMs } = turns
  const all: { readonly contender: Contender; readonly count: number; readonly rounds: Round[] }[] = []
  const hung = new Set<Contender>()
  const unlessHung = async <T>(contender: Contender, work: () => Promise<T>): Promise<T | undefined> => {
    if (hung.has(contender)) return undefined
    return within(ROUND_LIMIT_MS, 'round', work()).catch(() => {
      hung.add(contender)
      return undefined
    })
  }
  for (const contender of contenders) {
    const perSecond = (await unlessHung(contender, () => warm(contender, inFlight))) ?? 0
    all.push({ contender, count: Math.max(inFlight, Math.round((perSecond * roundMs) / 1000)), rounds: [] })
  }
  for (let turn = 0; turn < pairs; turn += 1) {
    for (const { contender, count, rounds } of turn % 2 === 0 ? all : all.toReversed()) {
      const round = await unlessHung(contender, async () => {
        await operate(contender, inFlight, Math.ceil(count * WARM_SHARE))
        return operate(contender, inFlight, count)
      })
      if (round === undefined) continue
      rounds.push({ elapsedMs: round.elapsedMs / count, cpuMicroseconds: round.cpuMicroseconds / count })
    }
  }
  return all.map(({ rounds }) => rounds)
}

/** Runs for a while and returns operations per second. */
async function warm(contender: Contender, inFlight: number): Promise<number> {
  const count = inFlight * 20
  let rate = 0
  for (const end = performance.now() + WARM_MS; performance.now() < end;) {
    rate = (1000 * count) / (await operate(contender, inFlight, count)).elapsedMs
  }
  return rate
}

/** So many operations, so many at a time. */
export async function operate({ operate }: Contender, inFlight: number, count: number): Promise<Round> {
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  let left = count
  const work = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      await operate()
    }
  }
  await Promise.all(Array.from({ length: inFlight }, work))
  const elapsedMs = performance.now() - startedAt
  const { user, system } = process.cpuUsage(cpuBefore)
  return { elapsedMs, cpuMicroseconds: user + system }
}

/** The middle of rounds of `count` operations. */
export function speed(rounds: readonly Round[], count: number): Speed {
  const median = (value: (round: Round) => number): number => percentile(rounds.map(value), 0.5)
  return {
    perSecond: (1000 * count) / median(({ elapsedMs }) => elapsedMs),
    cpuMicroseconds: median(({ cpuMicroseconds }) => cpuMicroseconds) / count,
  }
}
