import { percentile } from '../test/harness/index.js'

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

/** What one round of one client took. */
export interface Round {
  /** Operations. */
  readonly count: number
  readonly elapsedMs: number
  readonly cpuMicroseconds: number
}

/** Share of a round that is run before it without being measured: connections that idled are looked at, caches fill. */
const WARM_SHARE = 0.2
/** The optimizing compiler is done with both long before. */
const WARM_MS = 1000

/**
 * Lets two clients do the same work in turns, A B B A A B B A and so on, in many short rounds.
 *
 * The machine's speed drifts by more than the difference that is looked for; it drifts little within a pair. Garbage is
 * left to be collected when it is: full collections between the rounds undo what the compiler learnt, and made both
 * clients more than twice as slow.
 */
export async function compareInTurns(first: Contender, second: Contender, turns: Turns): Promise<Comparison> {
  const [firsts = [], seconds = []] = await roundsInTurn([first, second], turns)
  return {
    ratio: spreadOf(firsts, seconds, ({ elapsedMs }) => elapsedMs),
    cpuRatio: spreadOf(firsts, seconds, ({ cpuMicroseconds }) => cpuMicroseconds),
    first: speed(firsts),
    second: speed(seconds),
  }
}

/** The same for any number of clients: the rounds of each. */
export async function roundsInTurn(contenders: readonly Contender[], turns: Turns): Promise<readonly Round[][]> {
  const { inFlight, pairs, roundMs } = turns
  const all: { readonly contender: Contender; readonly count: number; readonly rounds: Round[] }[] = []
  for (const contender of contenders) {
    const perSecond = await warm(contender, inFlight)
    all.push({ contender, count: Math.max(inFlight, Math.round((perSecond * roundMs) / 1000)), rounds: [] })
  }
  for (let turn = 0; turn < pairs; turn += 1) {
    for (const { contender, count, rounds } of turn % 2 === 0 ? all : all.toReversed()) {
      await operate(contender, inFlight, Math.ceil(count * WARM_SHARE))
      rounds.push(await operate(contender, inFlight, count))
    }
  }
  return all.map(({ rounds }) => rounds)
}

/** What an operation of the second cost, divided by what one of the first did, turn by turn. */
export function spreadOf(firsts: readonly Round[], seconds: readonly Round[], cost: (round: Round) => number): Spread {
  const ratios = firsts.flatMap((round, i) => {
    const other = seconds[i]
    return other === undefined ? [] : [cost(other) / other.count / (cost(round) / round.count)]
  })
  return { low: percentile(ratios, 0.25), median: percentile(ratios, 0.5), high: percentile(ratios, 0.75) }
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
async function operate({ operate }: Contender, inFlight: number, count: number): Promise<Round> {
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
  return { count, elapsedMs, cpuMicroseconds: user + system }
}

/** The middle of the rounds of one client. */
export function speed(rounds: readonly Round[]): Speed {
  const median = (value: (round: Round) => number): number => percentile(rounds.map(value), 0.5)
  return {
    perSecond: 1000 / median(({ elapsedMs, count }) => elapsedMs / count),
    cpuMicroseconds: median(({ cpuMicroseconds, count }) => cpuMicroseconds / count),
  }
}
