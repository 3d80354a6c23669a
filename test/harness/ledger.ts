import { type Operation, type Outcome, parseOperation } from './operation.js'

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

/** What callers were told about each operation. */
export class Ledger {
  /** By worker, then by sequence number. */
  readonly #outcomes: Outcome[][] = []

  start({ worker, sequence }: Operation): void {
    this.#row(worker)[sequence] = 'pending'
  }

  settle({ worker, sequence }: Operation, outcome: Outcome): void {
    this.#row(worker)[sequence] = outcome
  }

  outcome({ worker, sequence }: Operation): Outcome | undefined {
    return this.#outcomes[worker]?.[sequence]
  }

  /** Ids of the operations with an outcome. */
  *ids(outcome: Outcome): Generator<string> {
    for (const [worker, row] of this.#outcomes.entries()) {
      for (const [sequence, each] of (row as Outcome[] | undefined)?.entries() ?? []) {
        if (each === outcome) yield `${worker}-${sequence}`
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

  #row(worker: number): Outcome[] {
    return (this.#outcomes[worker] ??= [])
  }
}
