import { once } from 'node:events'
import * as cluster from '../../test/cluster/index.js'
import type { FailoverEvent } from '../../src/index.js'
import type { TokenService } from './token-service.js'

/** One part of the show: a node of one kind is killed, and started again. */
export interface Act {
  readonly kind: cluster.Kind
  readonly title: string
  /** `host:port` of the node that the service uses now. */
  readonly inUse: (service: TokenService) => string
  /** The client whose failover is awaited. */
  readonly client: (service: TokenService) => {
    once: (name: 'failover', listener: (event: FailoverEvent) => void) => unknown
  }
}

/** How an act ended. */
export interface ActResult {
  readonly act: Act
  readonly victim: string
  readonly failover: FailoverEvent | undefined
}

export const ACTS: readonly Act[] = [
  {
    kind: 'memcached',
    title: 'cache node',
    inUse: (service) => service.cache.status().hosts.find(({ state }) => state === 'live')?.host ?? '',
    client: (service) => service.cache,
  },
  {
    kind: 'rabbit',
    title: 'message broker in use',
    inUse: (service) => service.transport.status().connections.publisher.host ?? '',
    client: (service) => service.transport,
  },
  {
    kind: 'galera',
    title: 'database writer',
    inUse: (service) => service.db.status().writer.host ?? '',
    client: (service) => service.db,
  },
]

const FAILOVER_LIMIT_MS = 30_000
const CALM_MS = 4000
const WHOLE = { timeoutMs: 90_000 }

/** A while without faults. */
export const calm = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, CALM_MS))

/** Kills the node in use, waits for the failover, lets it run for a moment, and starts the node again. */
export async function perform(act: Act, service: TokenService, say: (line: string) => void): Promise<ActResult> {
  await calm()
  const victim = act.inUse(service)
  const { n } = cluster.nodes(act.kind).find(({ host, port }) => `${host}:${port}` === victim) ?? missing(act, victim)
  const failover = failoverOf(act, service)
  say(`kill -9 ${act.kind} ${n} (${victim}, the ${act.title})`)
  await cluster.kill(act.kind, n)
  const event = await failover
  say(event === undefined ? `no failover within ${FAILOVER_LIMIT_MS} ms` : describe(act, event))
  await calm()
  say(`starting ${act.kind} ${n} again`)
  await cluster.start(act.kind, n)
  await cluster.whole(act.kind, WHOLE)
  say(`${act.kind} ${n} is back`)
  return { act, victim, failover: event }
}

/** One line about a failover. */
function describe(act: Act, event: FailoverEvent): string {
  const detected = `noticed after ${Math.round(event.detectedMs)} ms`
  return `failover of the ${act.title}: ${event.from} -> ${event.to ?? 'its heirs'} in ${Math.round(event.elapsedMs)} ms (${detected})`
}

async function failoverOf(act: Act, service: TokenService): Promise<FailoverEvent | undefined> {
  const limit = AbortSignal.timeout(FAILOVER_LIMIT_MS)
  try {
    const [event] = (await once(act.client(service) as never, 'failover', { signal: limit })) as [FailoverEvent]
    return event
  } catch {
    return undefined
  }
}

function missing(act: Act, victim: string): never {
  throw new Error(`the service uses ${victim || 'no node'}, which is no ${act.kind} node`)
}
