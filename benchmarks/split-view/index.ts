import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { blackhole, heal, node, nodes } from '../../test/cluster/index.js'
import { RawMemcached, sleep, within } from '../../test/harness/index.js'
import { table } from '../table.js'

/** What a client process is started with. */
export interface Setup {
  readonly servers: readonly string[]
  readonly localAddress: string
  readonly keys: readonly string[]
}

/** What it is told. */
export type ChildRequest =
  | { readonly verb: 'write'; readonly keys: readonly string[]; readonly version: number }
  | { readonly verb: 'forget' }
  | { readonly verb: 'report' }

/** How often keys of a group were read in one version; 0 is a miss. */
export interface ClassSeen {
  readonly group: string
  readonly version: number
  readonly count: number
  readonly firstAt: number
  readonly lastAt: number
}

/** What one client read of keys that somebody has written since. */
export interface SplitView {
  readonly client: string
  /** Whose write it did not see. */
  readonly group: string
  readonly staleReads: number
  /** The last stale read, counted from the healing; `undefined` without one. */
  readonly lastStaleMs: number | undefined
  readonly freshReads: number
  readonly misses: number
}

/** Does the client that was cut off live until the node is back for it? */
export type WriterEnds = 'lives' | 'dies'

/** How the views of several processes are split. */
export interface SplitPlan {
  readonly splitMs: number
  /** How long is looked at after the healing. */
  readonly afterMs: number
}

const CHILD = fileURLToPath(new URL('child.ts', import.meta.url))
const N = 2
const CUT_OFF = '127.0.9.1'
const OTHERS = '127.0.9.2'
const KEYS = 200
const LIMIT_MS = 30_000

class Client {
  readonly name: string
  readonly #process: ChildProcess

  constructor(name: string, setup: Setup) {
    this.name = name
    this.#process = fork(CHILD, [JSON.stringify(setup)])
  }

  async ready(): Promise<void> {
    await within(LIMIT_MS, `${this.name}: start`, once(this.#process, 'message'))
  }

  async ask(request: ChildRequest): Promise<{ readonly seen?: readonly ClassSeen[] }> {
    const answer = once(this.#process, 'message') as Promise<[{ problem?: string; seen?: readonly ClassSeen[] }]>
    this.#process.send(request)
    const [{ problem, seen }] = await within(LIMIT_MS, `${this.name}: ${request.verb}`, answer)
    if (problem !== undefined) throw new Error(`${this.name}: ${problem}`)
    return seen === undefined ? {} : { seen }
  }

  end(): void {
    this.#process.kill('SIGKILL')
  }
}

/**
 * A is cut off from one node and goes on with the heirs, B is not. Both write: what A writes is on the heirs, what B
 * writes is on the node. C is started while it lasts, D when it is over. What does each read that is older than the
 * last acknowledged write, and until when?
 */
export async function splitView(writer: WriterEnds, plan: SplitPlan): Promise<readonly SplitView[]> {
  const servers = nodes('memcached').map(({ host, port }) => `${host}:${port}`)
  const keys = await keysOfNode()
  const group = (name: string): readonly string[] => keys.filter((key) => key.startsWith(`${name}:`))
  const start = async (name: string, localAddress: string): Promise<Client> => {
    const client = new Client(name, { servers, localAddress, keys })
    clients.push(client)
    await client.ready()
    return client
  }
  const clients: Client[] = []
  try {
    const a = await start('A, cut off', CUT_OFF)
    const b = await start('B, not cut off', OTHERS)
    await a.ask({ verb: 'write', keys, version: 1 })
    await blackhole('memcached', N, { from: CUT_OFF })
    await a.ask({ verb: 'write', keys, version: 2 })
    await b.ask({ verb: 'write', keys: group('b'), version: 3 })
    for (const client of [a, b]) await client.ask({ verb: 'forget' })
    await start('C, started meanwhile', OTHERS)
    if (writer === 'dies') {
      clients.splice(0, 1)
      a.end()
    }
    await sleep(plan.splitMs)
    const healedAt = Date.now()
    await heal('memcached', N)
    await start('D, started afterwards', OTHERS)
    await sleep(plan.afterMs)
    const views = await Promise.all(
      clients.map(async (client) => viewsOf(client.name, (await client.ask({ verb: 'report' })).seen ?? [], healedAt)),
    )
    return views.flat()
  } finally {
    await heal('memcached', N)
    for (const client of clients) client.end()
  }
}

/** Keys of the node that is going to be cut off: half of them are written by A last, half by B. */
async function keysOfNode(): Promise<readonly string[]> {
  const { createClient } = await import('../../src/memcached/index.js')
  const all = createClient({ env: {}, servers: nodes('memcached').map(({ host, port }) => `${host}:${port}`) })
  const { host, port } = node('memcached', N)
  const direct = new RawMemcached(N)
  try {
    await all.ready()
    const run = randomUUID().slice(0, 8)
    const tried = Array.from({ length: KEYS * 8 }, (_, i) => `${i % 2 === 0 ? 'a' : 'b'}:${run}:${i}`)
    await all.setMany(new Map(tried.map((key) => [key, 0])))
    const found = [...(await direct.getMany(tried)).keys()].slice(0, KEYS)
    if (found.length < KEYS) throw new Error(`only ${found.length} keys belong to ${host}:${port}`)
    return found
  } finally {
    direct.close()
    await all.close()
  }
}

function viewsOf(client: string, seen: readonly ClassSeen[], healedAt: number): readonly SplitView[] {
  return (['a', 'b'] as const).map((group) => {
    const newest = group === 'a' ? 2 : 3
    const of = seen.filter((one) => one.group === group)
    const stale = of.filter(({ version }) => version > 0 && version < newest)
    const sum = (some: readonly ClassSeen[]): number => some.reduce((total, { count }) => total + count, 0)
    return {
      client,
      group: group === 'a' ? 'A, on the heirs' : 'B, on the node',
      staleReads: sum(stale),
      lastStaleMs: stale.length === 0 ? undefined : Math.max(...stale.map(({ lastAt }) => lastAt)) - healedAt,
      freshReads: sum(of.filter(({ version }) => version === newest)),
      misses: sum(of.filter(({ version }) => version === 0)),
    }
  })
}

export function splitViewTable(writer: WriterEnds, views: readonly SplitView[], plan: SplitPlan): string {
  const header = ['client', 'written last by', 'stale reads', 'last one, ms after the healing', 'fresh reads', 'misses']
  const rows = views.map(({ client, group, staleReads, lastStaleMs, freshReads, misses }) => [
    client,
    group,
    String(staleReads),
    lastStaleMs === undefined ? '-' : String(lastStaleMs),
    String(freshReads),
    String(misses),
  ])
  const how = `A is cut off from one of ${nodes('memcached').length} nodes for ${plan.splitMs} ms, ${KEYS} keys of that node are read by all for ${plan.afterMs} ms more`
  return `memcached split view, the cut off client ${writer}: ${how}\n\n${table(header, rows)}`
}
