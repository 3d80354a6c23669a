import type { Connections } from './connections.js'
import type { ManagedConsumer } from './consumer.js'
import { Liveness } from './liveness.js'
import type { Session } from './session.js'

/** Who may wait for the broker. @internal */
export interface WatchedWork {
  readonly consumers: Iterable<ManagedConsumer>
  /** Waits for confirmations, on the connection that publishes. */
  readonly publisher: { readonly isWaiting: boolean }
  /** Expects replies to calls, on the connection that consumes. */
  readonly messaging: { readonly isExpecting: boolean }
}

/** Watches over a transport's connections. @internal */
export function watchConnections(
  { publisher, consumer, standby }: Connections,
  work: WatchedWork,
  heartbeatMs: number,
): Liveness {
  const isConsuming = (session: Session): boolean => [...work.consumers].some((one) => one.isExpecting(session))
  const onAnswered = (session: Session): void => {
    for (const one of work.consumers) one.reassure(session)
  }
  const watch = (connection: typeof publisher, isWaiting: (session: Session) => boolean) => ({
    session: () => connection.session,
    isWaiting,
    onAnswered,
  })
  return new Liveness(
    [
      watch(publisher, (session) => work.publisher.isWaiting || isConsuming(session)),
      watch(consumer, (session) => work.messaging.isExpecting || isConsuming(session)),
      watch(standby, isConsuming),
    ],
    heartbeatMs,
  )
}
