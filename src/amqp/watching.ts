import type { Connections } from './connections.js'
import type { ManagedConsumer } from './consumer.js'
import { Liveness } from './liveness.js'
import type { Session } from './session.js'

/** Who may wait for the broker. @internal */
export interface WatchedWork {
  readonly consumers: Iterable<ManagedConsumer>
  /** True while a confirmation is due on the connection that publishes. */
  readonly isPublishing: () => boolean
  /** True while a reply to a call is due on the connection that consumes. */
  readonly isCalling: () => boolean
}

/** Watches over a transport's connections. @internal */
export function watchConnections(
  { publisher, consumer, standby }: Connections,
  { consumers, isPublishing, isCalling }: WatchedWork,
  heartbeatMs: number,
): Liveness {
  const isConsuming = (session: Session): boolean => [...consumers].some((one) => one.isExpecting(session))
  const onAnswered = (session: Session): void => {
    for (const one of consumers) one.reassure(session)
  }
  const watch = (connection: typeof publisher, isWaiting: (session: Session) => boolean) => ({
    session: () => connection.session,
    isWaiting,
    onAnswered,
  })
  return new Liveness(
    [
      watch(publisher, (session) => isPublishing() || isConsuming(session)),
      watch(consumer, (session) => isCalling() || isConsuming(session)),
      watch(standby, isConsuming),
    ],
    heartbeatMs,
  )
}
