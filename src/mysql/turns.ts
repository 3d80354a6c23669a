/** Runs tasks one after the other, in the order they came; one that fails does not keep the next from running. @internal */
export class Turns {
  #last: Promise<void> | undefined

  /** At once when nothing runs, in the same turn of the event loop. */
  run<R>(task: () => Promise<R>): Promise<R> {
    const turn = this.#last === undefined ? task() : this.#last.then(task)
    const ended: Promise<void> = turn.then(
      () => this.#end(ended),
      () => this.#end(ended),
    )
    this.#last = ended
    return turn
  }

  /** True when nothing runs. */
  get isIdle(): boolean {
    return this.#last === undefined
  }

  /** Resolves when what was asked until now has ended. Never rejects. */
  async idle(): Promise<void> {
    await this.#last
  }

  #end(ended: Promise<void>): void {
    if (this.#last === ended) this.#last = undefined
  }
}
