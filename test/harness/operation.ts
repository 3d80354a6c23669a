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
  return { worker, sequence, id: `${worker}-${sequence}` }
}

/** The operation of an id; undefined for a text that is none. */
export function parseOperation(id: string): Operation | undefined {
  const match = /^(\d+)-(\d+)$/.exec(id)
  return match === null ? undefined : operation(Number(match[1]), Number(match[2]))
}
