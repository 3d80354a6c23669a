/** One numbered piece of work, so that it can be looked for on the servers afterwards. */
export interface Operation {
  readonly worker: number
  /** Counts from 1 within its worker. */
  readonly sequence: number
  /** Both numbers in one short text. */
  readonly id: string
}

/** What became of an operation, as far as its caller knows. */
export type Outcome = 'pending' | 'acknowledged' | 'failed' | 'unknown'

export function operation(worker: number, sequence: number): Operation {
  return new NumberedOperation(worker, sequence)
}

/** Its id is made when it is asked for: not every load wants it, and some are measured by the microsecond. */
class NumberedOperation implements Operation {
  readonly worker: number
  readonly sequence: number

  constructor(worker: number, sequence: number) {
    this.worker = worker
    this.sequence = sequence
  }

  get id(): string {
    return `${this.worker}-${this.sequence}`
  }
}

/** The operation of an id; undefined for a text that is none. */
export function parseOperation(id: string): Operation | undefined {
  const match = /^(\d+)-(\d+)$/.exec(id)
  return match === null ? undefined : operation(Number(match[1]), Number(match[2]))
}
