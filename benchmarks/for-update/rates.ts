import { percentile, sleep } from '../../test/harness/index.js'
import type { TransferChild } from './child.js'
import type { ClientName } from './clients.js'
import { killAll, PROCESSES, startChildren, withTable } from './run.js'

/** What ours is compared with: the peer that keeps to one writer, too. */
export const PEER = 'mysql2-in-order'
const OURS: readonly ClientName[] = ['ours-transaction', 'ours-exactly-once']

/** Committed work per second of one client compared with that of {@link PEER}. */
export interface TransferRate {
  readonly client: ClientName
  /** The middle one of its turns, and of the peer's. */
  readonly perSecond: number
  readonly peerPerSecond: number
  /** Each alone, compared within each turn. */
  readonly alone: Ratio
  /** Half of each client's processes at the same time, on the same rows. */
  readonly together: Ratio
}

/** The middle half and the middle one. */
export interface Ratio {
  readonly low: number
  readonly median: number
  readonly high: number
}

/** Node compiles what runs often: services run for days, and not for seconds. */
const FIRST_WARM_MS = 30_000
/** A client that has just been given its turn finds its connections idle for a while. */
const WARM_MS = 250
const ROUND_MS = 1000
const HALF = PROCESSES / 2

/**
 * Committed work per second without any fault, of each of our clients in turn with the peer.
 *
 * What the machine does besides changes by more than what is compared: a turn is as short as can be, and goes ours, peer,
 * peer, ours, so that a change that lasts touches both alike. At the end of each turn half of both work at the same time,
 * which no such change can tell apart.
 */
export async function transferRates(turns: number): Promise<readonly TransferRate[]> {
  const rates: TransferRate[] = []
  for (const client of OURS) rates.push(await withTable((table) => compared(client, table, turns)))
  return rates
}

async function compared(client: ClientName, table: string, turns: number): Promise<TransferRate> {
  const groups: (readonly TransferChild[])[] = []
  try {
    const ours = await startChildren(client, table)
    groups.push(ours)
    const peer = await startChildren(PEER, table)
    groups.push(peer)
    for (const children of groups) await round(children, FIRST_WARM_MS)
    const mine: number[] = []
    const theirs: number[] = []
    const together: number[] = []
    for (let turn = 1; turn <= turns; turn += 1) {
      const first = await round(ours)
      const between = (await round(peer)) + (await round(peer))
      mine.push((first + (await round(ours))) / 2)
      theirs.push(between / 2)
      const [half, otherHalf] = await Promise.all([round(ours.slice(0, HALF)), round(peer.slice(0, HALF))])
      together.push(half / otherHalf)
    }
    return {
      client,
      perSecond: percentile(mine, 0.5),
      peerPerSecond: percentile(theirs, 0.5),
      alone: ratioOf(mine.map((rate, i) => rate / (theirs[i] ?? NaN))),
      together: ratioOf(together),
    }
  } finally {
    for (const children of groups) await killAll(children)
  }
}

function ratioOf(ratios: readonly number[]): Ratio {
  return { low: percentile(ratios, 0.25), median: percentile(ratios, 0.5), high: percentile(ratios, 0.75) }
}

async function round(children: readonly TransferChild[], warmMs = WARM_MS): Promise<number> {
  await Promise.all(children.map((child) => child.start()))
  await sleep(warmMs)
  const before = await committed(children)
  const startedAt = performance.now()
  await sleep(ROUND_MS)
  const after = await committed(children)
  const seconds = (performance.now() - startedAt) / 1000
  await Promise.all(children.map((child) => child.pause()))
  return (after - before) / seconds
}

async function committed(children: readonly TransferChild[]): Promise<number> {
  return (await Promise.all(children.map((child) => child.committed()))).reduce((sum, each) => sum + each, 0)
}
