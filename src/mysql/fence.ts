import { backoffDelay } from '../core/backoff.js'
import { isHAError, TimeoutError, toError } from '../core/errors.js'
import { waitWithin, type WaitOptions } from '../core/time-limit.js'
import { now, sleep } from '../core/timing.js'
import { classify } from './classify.js'
import { CommitOutcomeUnknownError, FenceUnavailableError } from './errors.js'
import { lowestFenceId, newFenceId } from './fence-id.js'
import { FenceTable, type Verdict } from './fence-table.js'
import type { NodeReport } from './galera.js'
import type { Lease } from './lease.js'

/** How often the commit fence was asked, and what it said. */
export interface FenceStatus {
  /** The transaction had been committed: its result was returned. */
  readonly committed: number
  /** It can never be committed any more: the function was run again. */
  readonly aborted: number
  /** No verdict within the limit: the caller got `CommitOutcomeUnknownError`. */
  readonly unknown: number
}

/** A transaction whose COMMIT was not answered. @internal */
export interface UnknownAttempt {
  readonly id: Buffer
  /** When its COMMIT was sent. */
  readonly sentAt: number
  /** What its server said of itself when it began. */
  readonly server: NodeReport | undefined
  /** The checkout it ran on; released, and its connection lost. */
  readonly lease: Lease
  readonly error: CommitOutcomeUnknownError
}

/** @internal */
export interface FenceOptions {
  readonly database: string | undefined
  readonly user: string | undefined
  readonly hostCount: () => number
  /** Longest wait for a verdict, in milliseconds. */
  readonly verdictTimeoutMs: number
  /** A connection to the writer. */
  readonly acquire: (limits: WaitOptions) => Promise<Lease>
}

const HOUR_MS = 3_600_000
/** A verdict asked for later could miss a row that the sweep has taken. */
const VERDICT_AGE_LIMIT_MS = HOUR_MS
/** Rows are kept for so long: more than the above by whatever clocks may differ. */
const KEEP_HOURS = 24
/** An unanswered statement of a verdict is given up after so long, and the verdict asked for anew. */
const ASK_LIMIT_MS = 5000
/** On the attempt's own node it waits for the attempt's locks, which a server keeps that waits for its dead client. */
const SAME_NODE_ASK_LIMIT_MS = 1000
const ASK_BACKOFF = { initialMs: 20, factor: 2, maxMs: 500 }
const PREPARE_ATTEMPTS = 5
const SWEEP_ROWS = 500
/** For all of one sweep, in milliseconds. */
const SWEEP_LIMIT_MS = 10_000
/** Pauses between sweeps: about a minute, or a moment while there is more. */
const SWEEP_PAUSE_MS = 60_000
const SWEEP_MORE_PAUSE_MS = 50

/**
 * The commit fence: tells whether a transaction whose COMMIT was not answered has happened, and if not, makes sure that
 * it never does.
 *
 * Each attempt writes an id of its own within its transaction. For a verdict the same id is written as aborted, in
 * autocommit: only one of the two can be committed, on one server because the id is the primary key, between nodes by
 * Galera's certification. @internal
 */
export class Fence {
  readonly #options: FenceOptions
  #table: FenceTable | undefined
  #preparing: Promise<void> | undefined
  #isSweeping = false
  #sweepAt = 0
  readonly #counts = { committed: 0, aborted: 0, unknown: 0 }

  constructor(options: FenceOptions) {
    this.#options = options
  }

  status(): FenceStatus {
    return Object.freeze({ ...this.#counts })
  }

  /** Makes sure that the table is there. Rejects with `FenceUnavailableError` when it cannot be. */
  async prepare(limits: WaitOptions = {}): Promise<void> {
    if (this.#table !== undefined) return
    this.#preparing ??= this.#prepareThroughLoss().finally(() => {
      this.#preparing = undefined
    })
    const late = (elapsedMs: number): Error => new TimeoutError('ready', elapsedMs, 'table of the commit fence')
    await waitWithin(this.#preparing, limits, late)
  }

  /** Begins a transaction on `lease` and writes a new id in it, which is returned. */
  async begin(lease: Lease): Promise<Buffer> {
    const id = newFenceId()
    await this.#usable().begin(lease, id)
    this.#sweepWhenDue()
    return id
  }

  /**
   * Finds out what became of an attempt; asks until it is known.
   *
   * Rejects with {@link CommitOutcomeUnknownError} when there is no verdict in time.
   */
  async verdict(asked: UnknownAttempt, signal: AbortSignal): Promise<Verdict> {
    const { sentAt, error: unknown } = asked
    const deadline = Math.min(now() + this.#options.verdictTimeoutMs, sentAt + VERDICT_AGE_LIMIT_MS)
    for (let attempt = 1; ; attempt += 1) {
      let problem = new Error('its row is gone')
      try {
        const verdict = await this.#ask(asked, { timeoutMs: Math.max(1, deadline - now()), signal })
        if (verdict !== undefined) {
          this.#counts[verdict] += 1
          return verdict
        }
      } catch (error) {
        problem = toError(error)
      }
      const pauseMs = backoffDelay(attempt, ASK_BACKOFF)
      if (signal.aborted || isClosed(problem) || now() + pauseMs >= deadline) {
        this.#counts.unknown += 1
        throw new CommitOutcomeUnknownError(unknown.host, unknown, problem)
      }
      await sleep(pauseMs, signal).catch(() => undefined)
    }
  }

  async #ask({ id, server, lease: attempt }: UnknownAttempt, limits: WaitOptions): Promise<Verdict | undefined> {
    const table = this.#usable()
    const lease = await this.#options.acquire(limits)
    const isSameNode = lease.node === attempt.node
    const askLimitMs = isSameNode ? SAME_NODE_ASK_LIMIT_MS : ASK_LIMIT_MS
    try {
      if (!isSameData(server, lease.node.report)) throw new Error(`${lease.node.name} may not have what was committed`)
      const each = { ...limits, timeoutMs: Math.min(limits.timeoutMs ?? Infinity, askLimitMs) }
      // What stands there may also be an earlier verdict of ours whose answer was lost.
      return (await table.revoke(lease, id, each)) ? 'aborted' : await table.read(lease, id, each)
    } catch (error) {
      if (isSameNode && error instanceof TimeoutError) attempt.node.kill(attempt.connection)
      throw error
    } finally {
      lease.release()
    }
  }

  /** A connection that is lost meanwhile, or a writer, is no reason to refuse a transaction. */
  async #prepareThroughLoss(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#prepare()
        return
      } catch (error) {
        if (attempt >= PREPARE_ATTEMPTS || classify(error).outcome !== 'lost') throw error
      }
    }
  }

  async #prepare(): Promise<void> {
    const { database, user = '', hostCount, acquire } = this.#options
    if (database === undefined) throw new FenceUnavailableError('no database is given in which its table could be')
    const table = new FenceTable(database, user)
    const lease = await acquire({})
    try {
      if (hostCount() > 1 && lease.node.report?.isGalera === false) {
        throw new FenceUnavailableError('there are several hosts without Galera, between which it proves nothing')
      }
      await table.ensure(lease)
    } finally {
      lease.release()
    }
    this.#table = table
  }

  #sweepWhenDue(): void {
    if (this.#isSweeping || now() < this.#sweepAt) return
    this.#isSweeping = true
    void this.#sweep()
  }

  async #sweep(): Promise<void> {
    let found = 0
    try {
      const limits = { signal: AbortSignal.timeout(SWEEP_LIMIT_MS) }
      const lease = await this.#options.acquire(limits)
      try {
        const below = lowestFenceId(Date.now() - KEEP_HOURS * HOUR_MS)
        found = await this.#usable().sweep(lease, below, KEEP_HOURS, SWEEP_ROWS, limits)
      } finally {
        lease.release()
      }
    } catch {
      // The next sweep finds what this one left.
    }
    this.#isSweeping = false
    this.#sweepAt = now() + (found === SWEEP_ROWS ? SWEEP_MORE_PAUSE_MS : SWEEP_PAUSE_MS * (0.5 + Math.random()))
  }

  #usable(): FenceTable {
    if (this.#table === undefined) throw new FenceUnavailableError('its table was not prepared')
    return this.#table
  }
}

function isClosed(error: unknown): boolean {
  return isHAError(error) && error.code === 'HA_CLOSED'
}

/**
 * True when what one server has committed the other has, too: members of one cluster, or the same server. Another plain
 * server behind the same address proves nothing.
 */
function isSameData(before: NodeReport | undefined, now: NodeReport | undefined): boolean {
  if (before === undefined || now === undefined || before.isGalera !== now.isGalera) return false
  return now.isGalera ? now.clusterUuid === before.clusterUuid : now.serverId === before.serverId
}
