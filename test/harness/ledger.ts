import { type Operation, type Outcome, parseOperation } from './operation.js'
import { Series } from './series.js'

/** What the comparison of promises with reality shows. */
export interface Differences {
  /** Acknowledged, but not there. */
  readonly lost: readonly string[]
  /** There more than once. */
  readonly twice: readonly string[]
  /** The caller was told that it failed, but it is there. */
  readonly denied: readonly string[]
  /** The caller was told that nobody knows; of these so many are there. */
  readonly unknownThere: number
  /** There, but never asked for. */
  readonly strangers: readonly string[]
}

/** As they are kept; 0 is no outcome. */
const OUTCOMES: readonly Outcome[] = ['pending', 'acknowledged', 'failed', 'unknown']

/** What callers were told about each operation. */
export class Ledger {
  /** By worker, then by sequence number. */
  readonly #outcomes: Series<Uint8Array>[] = []

  start(operation: Operation): void {
    this.settle(operation, 'pending')
  }

  settle({ worker, sequence }: Operation, outcome: Outcome): void {
    this.#row(worker).set(sequence, OUTCOMES.indexOf(outcome) + 1)
  }

  outcome({ worker, sequence }: Operation): Outcome | undefined {
    return OUTCOMES[(this.#outcomes[worker]?.at(sequence) ?? 0) - 1]
  }

  /** Ids of the operations with an outcome. */
  *ids(outcome: Outcome): Generator<string> {
    const wanted = OUTCOMES.indexOf(outcome) + 1
    for (const [worker, row] of this.#outcomes.entries()) {
      const length = (row as Series<Uint8Array> | undefined)?.length ?? 0
      for (let sequence = 0; sequence < length; sequence += 1) {
        if (row.at(sequence) === wanted) yield `${worker}-${sequence}`
      }
    }
  }

  /** Compares with how often each id is there. */
  compare(there: ReadonlyMap<string, number>): Differences {
    const lost: string[] = []
    for (const id of this.ids('acknowledged')) if (!there.has(id)) lost.push(id)
    const twice: string[] = []
    const denied: string[] = []
    const strangers: string[] = []
    let unknownThere = 0
    for (const [id, count] of there) {
      const asked = parseOperation(id)
      const outcome = asked === undefined ? undefined : this.outcome(asked)
      if (count > 1) twice.push(id)
      if (outcome === undefined) strangers.push(id)
      if (outcome === 'failed') denied.push(id)
      if (outcome === 'unknown' || outcome === 'pending') unknownThere += 1
    }
    return { lost, twice, denied, unknownThere, strangers }
  }

  #row(worker: number): Series<Uint8Array> {
    return (this.#outcomes[worker] ??= new Series((length) => new Uint8Array(length)))
  }
}
