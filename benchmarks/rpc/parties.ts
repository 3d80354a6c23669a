import type { ReportedFailover, Subject } from '../../test/harness/index.js'

/** Where callers and servers meet, and how they are set up. */
export interface Place {
  /** `host:port` of each; the first one is where a server, or a caller in Python, begins. */
  readonly hosts: readonly string[]
  readonly topic: string
  readonly exchange: string
  /** Queues of the topic are replicated. */
  readonly isQuorum: boolean
  /** Limit of every call. */
  readonly limitMs: number
}

/** Somebody who calls the echo. */
export interface Caller extends Subject {
  open(place: Place): Promise<void>
  /** Calls the echo with this value; resolves when it came back. Rejects with {@link CallError}. */
  call(value: string): Promise<void>
  failovers?(): readonly ReportedFailover[]
}

/** Somebody who serves it, in a process of its own. */
export interface Server {
  /** `onExecuted` is called with the value of each request that the method got. */
  open(place: Place, onExecuted: (value: string) => void): Promise<void>
  stop(): Promise<void>
  /** What it said of itself when it was stopped. */
  notes(): Readonly<Record<string, number>>
  unhandled(): readonly string[]
}

/** A call failed: which kind of failure, as it is counted. */
export class CallError extends Error {
  readonly code: string

  constructor(kind: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = kind
  }
}
