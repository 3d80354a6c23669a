/** What a {@link Lifecycle} reports on every transition. @internal */
export interface StateChange<S extends string> {
  readonly from: S
  readonly to: S
  /** Why, when the reason is a failure. */
  readonly cause: Error | undefined
}

/**
 * A state that can only move along a declared table.
 *
 * `enter` is the only writer: it refuses an undeclared move, then moves, then reports.
 * @internal
 */
export class Lifecycle<S extends string> {
  readonly #moves: Readonly<Record<S, readonly S[]>>
  readonly #onChange: (change: StateChange<S>) => void
  #state: S
  #since = Date.now()
  #cause: Error | undefined

  constructor(
    initial: S,
    moves: Readonly<Record<S, readonly S[]>>,
    onChange: (change: StateChange<S>) => void = () => undefined,
  ) {
    this.#state = initial
    this.#moves = moves
    this.#onChange = onChange
  }

  get state(): S {
    return this.#state
  }

  /** Wall-clock time of the last transition, for status snapshots. */
  get since(): number {
    return this.#since
  }

  /** Why the present state was entered, when the reason was a failure. */
  get cause(): Error | undefined {
    return this.#cause
  }

  canEnter(to: S): boolean {
    return this.#moves[this.#state].includes(to)
  }

  enter(to: S, cause?: Error): void {
    const from = this.#state
    if (!this.canEnter(to)) throw new Error(`bug: ${from} -> ${to} is not a declared transition`)
    this.#state = to
    this.#since = Date.now()
    this.#cause = cause
    this.#onChange({ from, to, cause })
  }
}
