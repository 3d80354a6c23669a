import type { WaitOptions } from '../core/time-limit.js'
import { memberIdSql } from './flow.js'

/** A connection that was cut, as its node's process list knows it. @internal */
export interface Victim {
  readonly threadId: number
  /** Our end's port. */
  readonly localPort: number | undefined
  /** The member of the Galera cluster that it led to. */
  readonly memberId: string | undefined
  readonly isMariaDb: boolean
}

/** @internal */
export interface KillerOptions {
  /** False while the node is in doubt: it has other things to answer. */
  readonly mayRun: () => boolean
  /** Sends several statements at once on a connection that nobody else waits for. */
  readonly run: (sql: string, limits: WaitOptions) => Promise<void>
}

const KILL_LIMIT_MS = 1000
/** More than one node's connections can leave behind in a moment. */
const MAX_WAITING = 100

/**
 * Ends what still runs on a node for connections that were cut.
 *
 * A server notices that its client has gone when it writes the result: until then the statement runs on and holds its
 * locks. Best effort: one at a time, each with a short limit, and nothing when the node does not answer. @internal
 */
export class Killer {
  readonly #options: KillerOptions
  readonly #waiting: Victim[] = []
  #isRunning = false

  constructor(options: KillerOptions) {
    this.#options = options
  }

  add(victim: Victim): void {
    if (victim.localPort === undefined) return
    if (this.#waiting.length >= MAX_WAITING) this.#waiting.shift()
    this.#waiting.push(victim)
    this.pump()
  }

  /** Goes on; called when the node has answered. */
  pump(): void {
    if (!this.#isRunning) void this.#killAll()
  }

  /** The node is gone, and its connections with it. */
  clear(): void {
    this.#waiting.length = 0
  }

  async #killAll(): Promise<void> {
    this.#isRunning = true
    try {
      while (this.#options.mayRun()) {
        const victim = this.#waiting.shift()
        if (victim === undefined) break
        await this.#options.run(killSql(victim), { timeoutMs: KILL_LIMIT_MS })
      }
    } catch {
      // The connection may be gone already, or the node: then there is nothing to do.
    } finally {
      this.#isRunning = false
    }
  }
}

/**
 * Kills by id only if the id is still that connection: a server that was started again, or another one behind the same
 * address, gives the same ids to other clients. @internal
 */
export function killSql(victim: Victim, what: 'KILL' | 'KILL QUERY' = 'KILL'): string {
  const { threadId, localPort, memberId, isMariaDb } = victim
  const isSameMember = memberId === undefined ? 'FALSE' : `'${memberId}' = ${memberIdSql(isMariaDb)}`
  const where = `ID = ${threadId} AND (HOST LIKE '%:${localPort ?? ''}' OR ${isSameMember})`
  const found = `SELECT CONCAT('${what} ', ID) FROM information_schema.PROCESSLIST WHERE ${where}`
  return `SET @ha_kill = COALESCE((${found}), 'DO 0'); PREPARE ha_kill FROM @ha_kill; EXECUTE ha_kill; DEALLOCATE PREPARE ha_kill`
}
