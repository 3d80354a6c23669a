import type { RowSink } from './row-stream.js'
import { Turns } from './turns.js'

/**
 * What a connection in somebody's hands is asked, one after the other as with mysql2, results that a reader takes at its
 * own pace included. When something waits behind such a result its reader must not stop in the middle for ever. @internal
 */
export class ChannelTurns {
  readonly #turns = new Turns()
  readonly #sinks = new Set<RowSink>()

  get isIdle(): boolean {
    return this.#turns.isIdle
  }

  run<R>(task: () => Promise<R>): Promise<R> {
    this.#hurry()
    return this.#turns.run(task)
  }

  /** The turn of a statement whose rows go into `sink`. */
  async fill<R>(sink: RowSink, task: () => Promise<R>): Promise<R> {
    this.#hurry()
    this.#sinks.add(sink)
    try {
      return await this.#turns.run(task)
    } finally {
      this.#sinks.delete(sink)
    }
  }

  /** Resolves when what was asked until now has ended. */
  idle(): Promise<void> {
    this.#hurry()
    return this.#turns.idle()
  }

  #hurry(): void {
    for (const sink of this.#sinks) sink.hurry?.()
  }
}
