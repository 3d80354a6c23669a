import { ask, takeMark } from './control.js'
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
  /** The value that an heir has under a key, to be copied; `undefined` when nothing is copied. */
  readonly copyFromHeir: (key: string) => Promise<Payload | undefined>
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
  let mark = await takeMark(transport)
  const hasNoCas = mark === 0
  // A process that counts anew is empty, apart from what others have stored in it since; nothing of ours waits in it.
  const isRestarted = !hasNoCas && mark <= node.lastCas && !node.isElsewhere
  if (node.mustSettle && !isRestarted) {
    await node.pause(SETTLE_MS)
    mark = await takeMark(transport)
  }
  if (node.policy === 'flush' || (hasNoCas && mustJudgeByAge(node))) {
    await ask(transport, 'flush')
    node.journal.clear()
    admit({ lastCas: mark, watermark: 0 })
    return
  }
  let watermark = isRestarted ? 0 : mustJudgeByAge(node) ? mark : node.watermark
  for (let round = 0; node.journal.size > 0 || node.journal.hasOverflowed; round += 1) {
    if (node.journal.hasOverflowed || round === MAX_ROUNDS) {
      if (hasNoCas) await ask(transport, 'flush')
      else watermark = mark = await takeMark(transport)
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

async function replay(transport: Transport, { journal, copyFromHeir }: ReturningNode): Promise<void> {
  const keys = journal.first(KEYS_PER_ROUND)
  // Taken out first: a key that changes while it is copied must be seen again.
  for (const key of keys) journal.remove(key)
  try {
    await Promise.all(
      keys.map(async (key) => {
        const copy = await copyFromHeir(key)
        await ask(transport, 'delete', { key })
        if (copy !== undefined) await ask(transport, 'add', { key, payload: copy })
      }),
    )
  } catch (error) {
    for (const key of keys) journal.add(key)
    throw error
  }
}
