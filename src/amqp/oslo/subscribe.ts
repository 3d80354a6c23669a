import { ConnectionLostError, TimeoutError } from '../../core/errors.js'
import { waitWithin } from '../../core/time-limit.js'
import type { Session } from '../session.js'
import { resolveSubscription, type ResolvedSubscription, type Subscription } from '../subscription.js'
import type { Declarer } from './declarer.js'
import type { TransportPort } from './port.js'
import { isStream, type QueueSpec } from './queues.js'

/** How a queue is consumed. @internal */
export type ConsumeSettings = Pick<
  Subscription,
  'acknowledge' | 'prefetch' | 'concurrency' | 'maxRequeues' | 'requeueDelayMs'
> &
  Pick<ResolvedSubscription, 'refuses'>

/** Making a quorum queue takes milliseconds, unless a node of it is frozen: then no other node makes it faster. */
const BESIDE_LIMIT_MS = 3000
const CLOSE_LIMIT_MS = 1000
const REMOVE_LIMIT_MS = 1000

/** A subscription to a queue that others consume too. @internal */
export function subscriptionTo(spec: QueueSpec, declarer: Declarer, settings: ConsumeSettings): ResolvedSubscription {
  return Object.freeze({
    ...resolve(spec, settings),
    declare: (session: Session) => declarer.queue(session, spec),
  })
}

/** A subscription to a queue that nobody else consumes. @internal */
export function subscriptionToOwn(
  spec: QueueSpec,
  declarer: Declarer,
  settings: ConsumeSettings,
  port: TransportPort,
): ResolvedSubscription {
  let priority = -1
  return Object.freeze({
    ...resolve(spec, settings),
    declare: (session: Session) => declareBeside(spec, declarer, session, port),
    // Above the one before: a broker goes on delivering to a connection to a frozen node until it gives the node up.
    nextPriority: () => (priority += 1),
  })
}

/** Deletes a queue that nobody will use any more; if that fails it expires. Never rejects. @internal */
export async function removeQueue(name: string, declarer: Declarer, port: TransportPort): Promise<void> {
  const stop = new AbortController()
  const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, `deleting queue '${name}'`)
  const removing = port.session(stop.signal).then((session) => declarer.deleteQueue(session, name))
  await waitWithin(removing, { timeoutMs: REMOVE_LIMIT_MS }, late, (reason) => stop.abort(reason)).catch(
    () => undefined,
  )
}

function resolve(spec: QueueSpec, settings: ConsumeSettings): ResolvedSubscription {
  const { name: queue, bindings } = spec
  const { refuses, ...given } = settings
  const bound = bindings.map(({ exchange, routingKey }) => ({ exchange: exchange.name, routingKey }))
  const type = isStream(spec) ? { type: 'stream' as const } : {}
  const resolved = resolveSubscription(
    { queue, bindings: bound, dedupe: false, redundant: false, ...type, ...given },
    1,
  )
  return refuses === undefined ? resolved : Object.freeze({ ...resolved, refuses })
}

/**
 * Declares a queue; its leader, if it is replicated, shall be on another node than the one in use.
 *
 * Otherwise the node that fails would take both the connection and the queue away: the connection is back within
 * seconds, while the cluster needs many of them to give up a frozen leader.
 */
async function declareBeside(
  spec: QueueSpec,
  declarer: Declarer,
  session: Session,
  port: TransportPort,
): Promise<void> {
  if (spec.arguments['x-queue-type'] === 'quorum') {
    const stop = new AbortController()
    const forget = session.ending.on((error) => stop.abort(error))
    const beside = await port.sessionBeside(session, stop.signal).finally(forget)
    if (beside !== undefined && (await declaredWithin(declarer.queue(beside, spec), beside))) return
  }
  await declarer.queue(session, spec)
}

/** False when it did not work on this connection, which is closed in any case. */
async function declaredWithin(declaring: Promise<void>, session: Session): Promise<boolean> {
  const late = (elapsedMs: number): Error => new TimeoutError('operation', elapsedMs, 'declaring')
  const isDeclared = await waitWithin(declaring, { timeoutMs: BESIDE_LIMIT_MS }, late).then(
    () => true,
    () => false,
  )
  void waitWithin(session.close(), { timeoutMs: CLOSE_LIMIT_MS }, late).catch(() =>
    session.cut(new ConnectionLostError(session.host.name, 'closed by us')),
  )
  return isDeclared
}
