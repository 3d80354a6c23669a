import { resolveSubscription, type ResolvedSubscription, type Subscription } from '../subscription.js'
import type { Declarer } from './declarer.js'
import type { QueueSpec } from './queues.js'

/** A subscription to a queue that is declared by oslo.messaging's rules. @internal */
export function subscriptionTo(
  spec: QueueSpec,
  declarer: Declarer,
  settings: Pick<Subscription, 'prefetch' | 'concurrency' | 'maxRequeues' | 'requeueDelayMs'>,
): ResolvedSubscription {
  const { name: queue, binding } = spec
  const bindings = binding === undefined ? [] : [{ exchange: binding.exchange.name, routingKey: binding.routingKey }]
  return Object.freeze({
    ...resolveSubscription({ queue, bindings, ...settings }, 1),
    declare: (session) => declarer.queue(session, spec),
  } satisfies ResolvedSubscription)
}
