import type { Outcome } from './operation.js'

/** A change of host that a client reports of itself. */
export interface ReportedFailover {
  readonly from: string
  readonly to: string | undefined
  readonly detectedMs: number
  readonly elapsedMs: number
  readonly cause?: unknown
  /** When it was reported, on the clock of `performance.now()`. */
  readonly at?: number
}

/** What clients under test have in common, whatever they talk to. */
export interface Subject {
  /** As it is printed. */
  readonly name: string
  /** Source address of its sockets, when it lets one choose: then a blackhole is for it alone. */
  readonly localAddress?: string
  /** Ends the client. It may hang or reject: the runner does not wait for ever, nor mind. */
  close(): Promise<void>
  /** The `host:port` in use, for clients that say so; else the kernel is asked. */
  inUse?(): string | undefined
  failovers?(): readonly ReportedFailover[]
  /** All of them, where {@link failovers} are only the latest. */
  failoverCount?(): number
  /** Whether a rejection means that nothing happened, or that nobody knows. @default unknown */
  outcomeOf?(error: unknown): Outcome
  /** Processes that hold its connections. @default this one */
  pids?(): readonly number[]
  /** Counts of its own that belong to the findings. */
  notes?(): Readonly<Record<string, number>>
  /** Whatever helps to understand a bad run. */
  report?(): unknown
}

/** A client of the database. */
export interface SqlSubject extends Subject {
  /** Connects; the hosts are `host:port`, the first is the one to use. */
  open(place: SqlPlace): Promise<void>
  /** Runs a one-row insert; resolves when it is committed. */
  insert(sql: string, id: string): Promise<void>
  /** Runs a SELECT where the client would run reads. */
  read?(sql: string): Promise<void>
  /** Runs a SELECT where the client writes, with the id as its value; resolves to the first row. */
  readBack?(sql: string, id: string): Promise<Readonly<Record<string, unknown>>>
}

/** Where and as whom a {@link SqlSubject} works. */
export interface SqlPlace {
  readonly hosts: readonly string[]
  readonly user: string
  readonly password: string
  readonly database: string
}

/** A client of the message broker. */
export interface MessageSubject extends Subject {
  /** Connects. */
  open(place: MessagePlace): Promise<void>
  /**
   * Consumes the queue, which exists; resolves when it does. `handle` is called for each message that is handed to the
   * application, which acknowledges it when the promise is resolved.
   */
  consume(handle: (id: string) => Promise<void>): Promise<void>
  /** Publishes to the queue; resolves when the broker confirmed it. */
  publish(id: string): Promise<void>
}

/** Where a {@link MessageSubject} works. */
export interface MessagePlace {
  /** `host:port` of each. */
  readonly hosts: readonly string[]
  /** A durable queue. */
  readonly queue: string
  readonly queueType: 'quorum' | 'classic'
  /** The client has to try the hosts in the order given, which it else may choose itself. */
  readonly isOrdered: boolean
  /** The client must keep no connection in reserve. */
  readonly isCold: boolean
}

/** A client of the cache. */
export interface CacheSubject extends Subject {
  /** Connects; the servers are `host:port`. */
  open(servers: readonly string[]): Promise<void>
  set(key: string, value: string): Promise<void>
  /** Undefined for a miss. */
  get(key: string): Promise<string | undefined>
  /** How many of the keys have a value. */
  getMany?(keys: readonly string[]): Promise<number>
}
