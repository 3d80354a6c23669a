import { resolveSubscription, type ResolvedSubscription, type Subscription } from '../subscription.js'
import type { Declarer } from './declarer.js'
import type { QueueSpec } from './queues.js'

/** A subscription to a queue that is declared by oslo.messaging's rules. @internal */
export function subscriptionTo(
  spec: QueueSpec,
  declarer: Declarer,
  settings: Pick<Subscription, 'prefetch' | 'concurrency' | 'maxRequeues' | 'requeueDelayMs'>,
): ResolvedSubscription {
  const { name: queue } = spec
  const bindings = spec.bindings.map(({ exchange, routingKey }) => ({ exchange: exchange.name, routingKey }))
  return Object.freeze({
    ...resolveSubscription({ queue, bindings, ...settings }, 1),
    declare: (session) => declarer.queue(session, spec),
  } satisfies ResolvedSubscription)
}
