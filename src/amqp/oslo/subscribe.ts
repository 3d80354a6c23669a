import { ConnectionLostError, TimeoutError } from '../../core/errors.js'
import { waitWithin } from '../../core/time-limit.js'
import type { Session } from '../session.js'
import { resolveSubscription, type ResolvedSubscription, type Subscription } from '../subscription.js'
import type { Declarer } from './declarer.js'
import type { TransportPort } from './port.js'
import type { QueueSpec } from './queues.js'

/** How a queue is consumed. @internal */
export type ConsumeSettings = Pick<Subscription, 'prefetch' | 'concurrency' | 'maxRequeues' | 'requeueDelayMs'>

/** Making a quorum queue takes milliseconds, unless a node of it is frozen: then no other node makes it faster. */
const BESIDE_LIMIT_MS = 3000
const CLOSE_LIMIT_MS = 1000

/** A subscription to a queue that is declared by oslo.messaging's rules. @internal */
export function subscriptionTo(spec: QueueSpec, declarer: Declarer, settings: ConsumeSettings): ResolvedSubscription {
  return subscription(spec, settings, (session) => declarer.queue(session, spec))
}

/**
 * A subscription to a queue of our own, whose leader is on another node than the one in use.
 *
 * Otherwise the node that fails would take both the connection and the queue away: the connection is back within
 * seconds, while the cluster needs many of them to give up a frozen leader.
 * @internal
 */
export function subscriptionBeside(
  spec: QueueSpec,
  declarer: Declarer,
  settings: ConsumeSettings,
  port: TransportPort,
): ResolvedSubscription {
  return subscription(spec, settings, async (session) => {
    const stop = new AbortController()
    const forget = session.ending.on((error) => stop.abort(error))
    const beside = await port.sessionBeside(session, stop.signal)
    forget()
    if (beside === undefined || !(await declaredWithin(declarer.queue(beside, spec), beside))) {
      await declarer.queue(session, spec)
    }
  })
}

function subscription(
  spec: QueueSpec,
  settings: ConsumeSettings,
  declare: (session: Session) => Promise<void>,
): ResolvedSubscription {
  const bindings = spec.bindings.map(({ exchange, routingKey }) => ({ exchange: exchange.name, routingKey }))
  return Object.freeze({ ...resolveSubscription({ queue: spec.name, bindings, ...settings }, 1), declare })
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
