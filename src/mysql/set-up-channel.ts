import { ChannelTurns } from './channel-turns.js'
import { LeaseChannel } from './lease-channel.js'
import type { Lease } from './lease.js'
import type { RowSink } from './row-stream.js'

/**
 * A new connection in the hands of those who set it up, before its first borrower has it.
 *
 * What they ask at once is sent at once, so that the driver runs it before what the borrower asks. What they ask later
 * would run in the middle of the borrower's work, and is refused. @internal
 */
export class SetUpChannel extends LeaseChannel {
  constructor(lease: Lease) {
    super(lease, () => undefined, new NoTurns())
  }

  /** The connection stays with its borrower. */
  override release(): void {
    this.refuse()
  }
}

class NoTurns extends ChannelTurns {
  override run<R>(task: () => Promise<R>): Promise<R> {
    return task()
  }

  override fill<R>(_sink: RowSink, task: () => Promise<R>): Promise<R> {
    return task()
  }
}
