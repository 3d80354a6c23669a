import { ask, takeMark, TransportDown } from './control.js'
import { ServerBusyError } from './errors.js'
import type { Journal } from './journal.js'
import type { RejoinPolicy } from './options.js'
import type { Payload, Transport } from './transport.js'

/**
 * How long a node that answers again is left alone when a write may wait in it: it applies, within milliseconds, what
 * its kernel had taken from connections that were reset since.
 * @internal
 */
export const SETTLE_MS = 100
/** After an absence of more than this, values are judged by age and not by the journal alone. */
const LONG_ABSENCE_MS = 10_000
const KEYS_PER_ROUND = 4096
/** So many values are copied at a time: the heirs have callers to serve meanwhile, and each value may be large. */
const COPIES_AT_A_TIME = 32
/** Rounds of replay before giving up on a journal that fills as fast as it empties. */
const MAX_ROUNDS = 100

/** What is known of a node that answers again. @internal */
export interface ReturningNode {
  readonly policy: RejoinPolicy
  readonly journal: Journal
  /** CAS id seen last, before it went away; 0 when none was. */
  readonly lastCas: number
  readonly watermark: number
  /** True when it is reached at another address than before: what it holds is not what is known of it. */
  readonly isElsewhere: boolean
  /** True when a write that was sent before the absence may still be applied. */
  readonly mustSettle: boolean
  /** How long it has been out, in milliseconds. */
  outMs(): number
  pause(ms: number): Promise<void>
  /** Finds the value that an heir has under a key, to be copied; `undefined` when nothing is to be copied. */
  readonly copyFromHeir: ((key: string) => Promise<Payload | undefined>) | undefined
}

/** How the node may be used. @internal */
export interface Readmission {
  readonly lastCas: number
  /** Its values with a CAS id up to this are misses. */
  readonly watermark: number
}

/**
 * Makes a node that was out safe to use: none of its values is older than one that this client wrote or read elsewhere
 * since it went away.
 *
 * 1. What was changed elsewhere is deleted on it, in rounds, because more may be changed meanwhile.
 * 2. After a long absence, or when the journal could not hold all keys, everything that it holds counts as a miss, told
 *    by the CAS id: memcached numbers its stores, so a value below the mark was stored before the mark.
 *
 * `admit` is called in the same turn in which nothing was left to do; whatever is changed after it goes to this node.
 * Rejects when the node fails again; the journal then still has every key whose deletion was not confirmed.
 * @internal
 */
export async function rejoin(
  transport: Transport,
  node: ReturningNode,
  admit: (readmission: Readmission) => void,
): Promise<void> {
  if (node.policy === 'trust') {
    admit({ lastCas: 0, watermark: 0 })
    return
  }
  let mark = await markOf(transport)
  // A process that counts anew is empty, apart from what others have stored in it since; nothing of ours waits in it.
  const isRestarted = mark > 0 && mark <= node.lastCas && !node.isElsewhere
  if (node.mustSettle && !isRestarted) {
    await node.pause(SETTLE_MS)
    mark = await markOf(transport)
  }
  const hasNoCas = mark === 0
  if (node.policy === 'flush' || (hasNoCas && mustJudgeByAge(node))) {
    await ask(transport, 'flush')
    node.journal.clear()
    admit({ lastCas: mark, watermark: 0 })
    return
  }
  let watermark = isRestarted ? 0 : mustJudgeByAge(node) ? mark : node.watermark
  for (let round = 0; node.journal.size > 0 || node.journal.hasOverflowed; round += 1) {
    if (node.journal.hasOverflowed || round === MAX_ROUNDS) {
      watermark = mark = hasNoCas ? 0 : await markOf(transport)
      if (mark === 0) await ask(transport, 'flush')
      node.journal.clear()
      break
    }
    await replay(transport, node)
  }
  admit({ lastCas: mark, watermark })
}

function mustJudgeByAge(node: ReturningNode): boolean {
  return node.journal.hasOverflowed || node.isElsewhere || node.outMs() > LONG_ABSENCE_MS
}

/** 0 where no mark can be had: without CAS, or of a server whose memory is full, which must not stay out for that. */
async function markOf(transport: Transport): Promise<number> {
  try {
    return await takeMark(transport)
  } catch (error) {
    if (error instanceof ServerBusyError) return 0
    throw error
  }
}

async function replay(transport: Transport, { journal, copyFromHeir }: ReturningNode): Promise<void> {
  const keys = journal.first(KEYS_PER_ROUND)
  // Taken out first: a key that changes while it is copied must be seen again.
  for (const key of keys) journal.remove(key)
  const atATime = copyFromHeir === undefined ? KEYS_PER_ROUND : COPIES_AT_A_TIME
  try {
    for (let from = 0; from < keys.length; from += atATime) {
      const some = keys.slice(from, from + atATime)
      await Promise.all(some.map((key) => renew(transport, key, copyFromHeir)))
    }
  } catch (error) {
    for (const key of keys) journal.add(key)
    throw error
  }
}

async function renew(transport: Transport, key: string, copyFromHeir: ReturningNode['copyFromHeir']): Promise<void> {
  const copy = await copyFromHeir?.(key)
  await ask(transport, 'delete', { key })
  if (copy === undefined) return
  try {
    await ask(transport, 'add', { key, payload: copy })
  } catch (error) {
    // A copy that is refused is a miss; the node is as safe without it.
    if (error instanceof TransportDown) throw error
  }
}
