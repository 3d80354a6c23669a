import { percentile, sleep } from '../../test/harness/index.js'
import type { TransferChild } from './child.js'
import type { ClientName } from './clients.js'
import { killAll, startChildren, withTable } from './run.js'

/** What is compared: every client that keeps to one writer, with the last. */
export const PEER = 'mysql2-in-order'
const CLIENTS: readonly ClientName[] = ['ours-transaction', 'ours-exactly-once', PEER]

/** Committed work per second of one client, round by round. */
export interface TransferRate {
  readonly client: ClientName
  /** The middle one. */
  readonly perSecond: number
  /** Compared with mysql2 in order in the same turn: the middle half and the middle one. */
  readonly ratio: { readonly low: number; readonly median: number; readonly high: number }
}

/** Node compiles what runs often: services run for days, and not for seconds. */
const FIRST_WARM_MS = 8000
/** A client that has just been given its turn finds its connections idle for a while. */
const WARM_MS = 250
const ROUND_MS = 1000

/**
 * Committed work per second without any fault, of all clients in turn.
 *
 * Many short rounds: what the machine does besides changes by more than what is compared. Every other turn goes the
 * other way round.
 */
export async function transferRates(turns: number): Promise<readonly TransferRate[]> {
  return withTable(async (table) => {
    const groups = new Map<ClientName, readonly TransferChild[]>()
    const rounds = new Map<ClientName, number[]>(CLIENTS.map((client) => [client, []]))
    try {
      for (const client of CLIENTS) groups.set(client, await startChildren(client, table))
      // The first turn warms up.
      for (let turn = 0; turn <= turns; turn += 1) {
        for (const [client, children] of turn % 2 === 0 ? groups : [...groups].reverse()) {
          const rate = await round(children, turn === 0 ? FIRST_WARM_MS : WARM_MS)
          if (turn > 0) rounds.get(client)?.push(rate)
        }
      }
    } finally {
      for (const children of groups.values()) await killAll(children)
    }
    const peer = rounds.get(PEER) ?? []
    return [...rounds].map(([client, rates]) => {
      const ratios = rates.map((rate, i) => rate / (peer[i] ?? NaN))
      return {
        client,
        perSecond: percentile(rates, 0.5),
        ratio: { low: percentile(ratios, 0.25), median: percentile(ratios, 0.5), high: percentile(ratios, 0.75) },
      }
    })
  })
}

async function round(children: readonly TransferChild[], warmMs: number): Promise<number> {
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
