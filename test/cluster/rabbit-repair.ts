import { nodes } from './address.js'
import { erlangName, type RabbitStatus, rabbitStatus } from './rabbit-admin.js'
import { readSettings } from './state.js'
import { type Progress, waitFor } from './wait.js'

const NUMBERS: readonly number[] = nodes('rabbit').map(({ n }) => n)

const REPAIR_TIMEOUT_MS = 120_000

/** How long all nodes must agree: both sides need a moment to see that a tick was missed. */
const CALM_MS = 2000

type Views = ReadonlyMap<number, RabbitStatus>

/** True when the running nodes do not agree on who is in the cluster. */
export async function isRabbitSplit(): Promise<boolean> {
  return !agree(await views())
}

/**
 * Restarts a node that was frozen or cut off for longer than net_ticktime, and waits until all nodes agree.
 *
 * Such a node considers itself partitioned, the others it, and RabbitMQ does not leave that state by itself.
 * `suspects` are the nodes known to have been away; they are restarted before any other.
 */
export async function repairRabbit(
  suspects: readonly number[],
  restart: (n: number) => Promise<void>,
  progress: Progress,
): Promise<void> {
  const restarted = new Set<number>()
  const patienceMs = readSettings('rabbit').netTicktimeSeconds * 1000 + CALM_MS
  let since = performance.now()
  let wereAgreed = true
  await waitFor('rabbit agrees on its members', { timeoutMs: REPAIR_TIMEOUT_MS, everyMs: 250 }, async () => {
    const all = await views()
    const isAgreed = agree(all)
    if (isAgreed !== wereAgreed) since = performance.now()
    wereAgreed = isAgreed
    const lastedMs = performance.now() - since
    if (isAgreed) return lastedMs >= CALM_MS ? undefined : 'not for long enough'
    // Without a reported partition it may just be that the nodes have not connected to each other again.
    const isReported = [...all.values()].some(({ partitions }) => partitions.length > 0)
    if (lastedMs < (isReported ? CALM_MS : patienceMs)) return 'they disagree'
    const outsider = chooseOutsider(all, suspects, restarted)
    restarted.add(outsider)
    progress(`node ${outsider} is partitioned: restarting it`)
    await restart(outsider)
    since = performance.now()
    return 'restarted a node'
  })
}

/** Booted nodes only: one that boots will find its cluster. */
async function views(): Promise<Views> {
  const all = await Promise.all(NUMBERS.map(async (n) => ({ n, status: await rabbitStatus(n) })))
  return new Map(all.flatMap(({ n, status }) => (status?.isBooted === true ? [[n, status] as const] : [])))
}

function agree(all: Views): boolean {
  return [...all.keys()].every((n) => rejections(all, n) === 0)
}

/**
 * Known to have been away before any other, and nobody a second time before everyone else had its turn.
 *
 * When two nodes reject each other, restarting a third changes nothing: Erlang ends further connections to prevent
 * overlapping partitions, so the two need not include the one that was away.
 */
function chooseOutsider(all: Views, suspects: readonly number[], restarted: ReadonlySet<number>): number {
  const booted = [...all.keys()]
  const fresh = booted.filter((n) => !restarted.has(n) && disagreements(all, n) > 0)
  const away = fresh.filter((n) => suspects.includes(n))
  const candidates = [away, fresh, booted].find(({ length }) => length > 0) ?? booted
  return candidates.reduce((a, b) => (disagreements(all, b) > disagreements(all, a) ? b : a))
}

/** How many nodes do without node `n`, and how many it does without itself. */
function disagreements(all: Views, n: number): number {
  return rejections(all, n) + (all.get(n)?.partitions.length ?? 0)
}

/** How many nodes do without node `n`. */
function rejections(all: Views, n: number): number {
  const name = erlangName(n)
  return [...all.values()].filter(({ running, partitions }) => partitions.includes(name) || !running.includes(name))
    .length
}
