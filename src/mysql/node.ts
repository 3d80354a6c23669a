import { formatEndpoint } from '../core/endpoint.js'
import { ConnectionLostError, TimeoutError } from '../core/errors.js'
import { Lifecycle } from '../core/lifecycle.js'
import type { WaitOptions } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import { Calls, patienceMs } from './calls.js'
import { classify } from './classify.js'
import { Fitness } from './fitness.js'
import { FlowCheck } from './flow-check.js'
import { unfitForReads, unfitForWrites, type NodeReport } from './galera.js'
import { identityStatement } from './identity.js'
import { NodeDialler } from './node-dialler.js'
import { NodePool } from './node-pool.js'
import { Killer, killSql, type Victim } from './killer.js'
import { hostStatus, type MysqlHostStatus, type NodeState } from './node-status.js'
import type { ResolvedMysqlPoolOptions, MysqlHost } from './options.js'
import { Prober } from './prober.js'

/** While a node is suspect it is asked so often, in milliseconds. */
const SUSPECT_INTERVAL_MS = 250
/** A node that does not answer is dialled at most so often. */
const DOWN_INTERVAL_MS = 1000
/** The probe dials anew so often: nothing else notices that the host leads to another server while the old one lives. */
const RENEWAL_INTERVAL_MS = 30_000
/** A second look so soon after the first answer shows which node the other clients write to. */
const SECOND_LOOK_MS = 100
/** Wrong credentials are not tried again for so long: servers lock accounts. */
const MISCONFIGURED_INTERVAL_MS = 30_000

/** What a node tells its owner. @internal */
export interface NodeListener {
  /** It answered, or was given up. */
  readonly onChange: (node: Node) => void
  /** First sign of trouble: the others should be asked too. */
  readonly onSuspect: (node: Node) => void
  readonly onRoom: () => void
}

/** One server: its probe, its connections, and what is known of its health. @internal */
export class Node {
  readonly name: string
  readonly pool: NodePool
  readonly calls: Calls
  readonly #options: ResolvedMysqlPoolOptions
  readonly #listener: NodeListener
  readonly #dialler: NodeDialler
  readonly #prober: Prober
  readonly #killer: Killer
  readonly #fitness: Fitness
  readonly #flowCheck: FlowCheck
  readonly #lifecycle = new Lifecycle<NodeState>('unknown', {
    unknown: ['up', 'down'],
    up: ['suspect', 'down'],
    suspect: ['up', 'down'],
    down: ['up'],
  })
  #host: MysqlHost
  #timer: NodeJS.Timeout | undefined
  #isClosed = false
  #isRemoved = false
  #isWriter = false
  #isMisconfigured = false
  #misses = 0
  #lastError: Error | undefined
  #report: NodeReport | undefined
  #previousReport: NodeReport | undefined
  #askedAt = 0
  #answeredAskedAt = 0
  #viewSeenAt = 0
  #suspectSince = 0
  /** When the node last refused a write as read-only; its reports count again once they were asked for after that. */
  #refusedWriteAt: number | undefined

  constructor(host: MysqlHost, options: ResolvedMysqlPoolOptions, listener: NodeListener) {
    this.#host = host
    this.name = formatEndpoint(host.endpoint)
    this.#options = options
    this.#listener = listener
    this.#dialler = new NodeDialler({
      name: this.name,
      host,
      options,
      expected: () => ({ isGalera: this.#report?.isGalera === true, serverId: this.serverId }),
      onAddresses: (addresses) => this.#follow(addresses),
      onOther: () => this.#renew(),
    })
    this.#fitness = new Fitness(options.failbackDelayMs)
    this.calls = new Calls(options.suspectAfterMs, (silentSince) => this.#silent(silentSince))
    this.#prober = new Prober({
      name: this.name,
      dial: (signal) => this.#dialler.probe(signal),
      onAnswer: (report, askedAt) => this.#answered(report, askedAt),
      onMiss: (error) => this.#missed(error),
      onLost: (error) => this.suspect(error),
    })
    this.#flowCheck = new FlowCheck({
      name: this.name,
      calls: this.calls,
      ask: (sql, limits) => this.#prober.run(sql, limits),
      timeoutMs: options.probeTimeoutMs,
    })
    this.#killer = new Killer({
      mayRun: () => this.state === 'up' && !this.#isClosed,
      run: async (sql, limits) => {
        await this.#prober.run(sql, limits)
      },
    })
    this.pool = new NodePool({
      name: this.name,
      connectionLimit: options.connectionLimit,
      connectTimeoutMs: options.connectTimeoutMs,
      maxLifetimeMs: options.maxLifetimeMs,
      validateAfterIdleMs: options.validateAfterIdleMs,
      validateTimeoutMs: options.probeTimeoutMs,
      dial: (signal) => this.#dialler.session(signal),
      onFailure: (error) => this.noteFailure(error),
      onRoom: () => listener.onRoom(),
    })
  }

  get state(): NodeState {
    return this.#lifecycle.state
  }

  /** Lower is preferred as writer. */
  get priority(): number {
    return this.#host.priority
  }

  /** Which server answered last; `undefined` while the node is down. */
  get serverId(): string | undefined {
    return this.#report?.serverId
  }

  get report(): NodeReport | undefined {
    return this.#report
  }

  get askedAt(): number {
    return this.#askedAt
  }

  get viewSeenAt(): number {
    return this.#viewSeenAt
  }

  get lastError(): Error | undefined {
    return this.#lastError
  }

  /** When the present trouble was first noticed, on the monotonic clock. */
  get suspectSince(): number {
    return this.#suspectSince
  }

  /** True when credentials or privileges keep us out: waiting does not mend it. */
  get isMisconfigured(): boolean {
    return this.#isMisconfigured
  }

  /** True when the node sent write sets between its last two reports. */
  get isWrittenTo(): boolean {
    if (this.#report === undefined || this.#previousReport === undefined) return false
    return this.#report.replicated > this.#previousReport.replicated
  }

  /** True when enough is known of the node for a first election: two reports, or that it does not answer. */
  get isSettled(): boolean {
    return this.#previousReport !== undefined || this.state === 'down'
  }

  /** {@link Fitness.ageMs} now. */
  get ageMs(): number {
    return this.#fitness.ageMs(this.#report?.uptimeMs ?? 0)
  }

  /** {@link Fitness.requiredAgeMs} now. */
  get requiredAgeMs(): number {
    return this.#fitness.requiredAgeMs
  }

  /** Why the node cannot serve, or `undefined` when it can. */
  unfitFor(role: 'write' | 'read'): string | undefined {
    if (this.#isRemoved) return 'was removed from the hosts'
    if (this.state === 'unknown') return 'was not reached yet'
    if (this.state === 'down' || this.#report === undefined) return 'is down'
    if (role === 'write' && this.#refusedWriteAt !== undefined) return 'refused a write as read-only'
    return role === 'write' ? unfitForWrites(this.#report) : unfitForReads(this.#report)
  }

  start(): void {
    this.#schedule(0)
  }

  /** The same host as the list has it now: its priority may have changed. */
  update(host: MysqlHost): void {
    this.#host = host
  }

  /** The host is no longer in the list: nothing new starts on it. What runs goes on until `close`. */
  remove(): void {
    this.#isRemoved = true
  }

  setWriter(isWriter: boolean): void {
    this.#isWriter = isWriter
    if (isWriter && !this.#isClosed) this.#schedule(this.#interval())
  }

  /** Something about the node is wrong, or something else makes news likely: ask it now. */
  suspect(cause: Error): void {
    if (this.#isClosed) return
    this.#lastError = cause
    if (this.state === 'up') {
      this.#suspectSince = now()
      this.#lifecycle.enter('suspect', cause)
      this.#listener.onSuspect(this)
      this.#schedule(0)
    }
  }

  /** Asks now without suspecting: the node next to it is in trouble. */
  askNow(): void {
    if (this.state === 'up' && !this.#prober.isRunning) this.#schedule(0)
  }

  /**
   * Returns when the server has applied everything that was committed in the cluster before the call.
   *
   * On the probe's connection: a pool that is full of readers, or a server at its connection limit, must not keep a
   * new writer from being made. Rejects when another server answers than the one that was found fit.
   */
  async causalRead(limits: WaitOptions): Promise<void> {
    const isGalera = this.#report?.isGalera === true
    const { sql } = identityStatement(isGalera)
    const read = isGalera ? 'SET SESSION wsrep_sync_wait = 1; SELECT 1; SET SESSION wsrep_sync_wait = 0' : 'SELECT 1'
    const call = this.calls.start()
    try {
      const results = (await this.#prober.run(`${read}; ${sql}`, limits)) as readonly unknown[]
      this.#dialler.assertServer(results.at(-1), isGalera)
    } finally {
      this.calls.end(call, false)
    }
  }

  /** Ends what still runs on the node for a connection that was cut; in the background, and only if it can be done. */
  kill(victim: Victim): void {
    if (this.state !== 'down') this.#killer.add(victim)
  }

  /** Ends the statement that runs on one of this node's connections, or the connection. Does nothing for an unknown id. */
  async end(threadId: number, what: 'query' | 'connection', limits: WaitOptions): Promise<void> {
    const connection = this.pool.find(threadId)
    if (connection === undefined) return
    await this.#prober.run(killSql(connection, what === 'query' ? 'KILL QUERY' : 'KILL'), limits)
  }

  /** Acts on what an error of a statement or a dial says about the node. */
  noteError(error: unknown): void {
    const cause = error instanceof Error ? error : new Error(String(error))
    switch (classify(error).node) {
      case 'none':
        return
      case 'busy':
        this.#lastError = cause
        return
      case 'readOnly':
        this.#refusedWriteAt = now()
        this.suspect(cause)
        this.#listener.onChange(this)
        return
      case 'misconfigured':
      case 'down':
      case 'suspect':
        this.suspect(cause)
    }
  }

  /** `unfit` is why the node is not written to. */
  status(unfit: string | undefined): MysqlHostStatus {
    return hostStatus({
      host: this.name,
      address: this.#prober.address,
      state: this.state,
      since: this.#lifecycle.since,
      unfit,
      lastError: this.#lastError,
      report: this.#report,
      connections: this.pool.status(),
      calls: this.calls.count,
    })
  }

  close(reason: Error): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#prober.close(reason)
    this.pool.close(reason)
    this.calls.close()
  }

  noteFailure(error: Error): void {
    this.#lastError = error
    this.noteError(error)
  }

  #silent(silentSince: number): void {
    if (this.state === 'up') this.#flowCheck.look()
    const heardAt = Math.max(silentSince, this.#answeredAskedAt, this.calls.answeredAt)
    if (this.state !== 'up' || now() - heardAt < patienceMs(silentSince, heardAt, this.#options.suspectAfterMs)) return
    this.suspect(new TimeoutError('operation', now() - silentSince, `a statement on ${this.name} is unanswered`))
  }

  #interval(): number {
    if (this.state === 'suspect') return SUSPECT_INTERVAL_MS
    if (this.#isMisconfigured) return MISCONFIGURED_INTERVAL_MS
    if (this.state !== 'up') return DOWN_INTERVAL_MS
    return this.#isWriter ? this.#options.probeIntervalMs : this.#options.passiveProbeIntervalMs
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#schedule(this.#interval())
      if (this.#prober.isRunning && this.state !== 'suspect') return
      const isKnown = this.state === 'up' || this.state === 'suspect'
      if (this.state === 'up' && this.#prober.dialAgeMs > RENEWAL_INTERVAL_MS) this.#renew()
      void this.#prober.ask(isKnown ? this.#options.probeTimeoutMs : this.#options.connectTimeoutMs)
    }, delayMs).unref()
  }

  #answered(report: NodeReport, askedAt: number): void {
    const isFirst = this.#report === undefined
    const isOther = !isFirst && this.serverId !== report.serverId
    this.#previousReport = isOther ? undefined : this.#report
    if (this.#report?.viewId !== report.viewId) this.#viewSeenAt = askedAt
    this.#report = report
    this.#askedAt = askedAt
    this.#answeredAskedAt = askedAt
    this.#misses = 0
    this.#isMisconfigured = false
    if (this.#refusedWriteAt !== undefined && askedAt > this.#refusedWriteAt) this.#refusedWriteAt = undefined
    if (this.state !== 'up') {
      if (this.state === 'down') this.pool.allowDial()
      this.#lifecycle.enter('up')
      this.#schedule(isFirst ? SECOND_LOOK_MS : this.#interval())
    }
    this.#killer.pump()
    if (isOther) {
      this.pool.retireAll()
      this.pool.allowDial()
    }
    this.#fitness.note(this.unfitFor('write') === undefined)
    // Also without news: ages grow, and a node may be old enough now to be preferred.
    this.#listener.onChange(this)
  }

  #missed(error: Error): void {
    const hint = classify(error).node
    this.#lastError = error
    if (hint === 'busy' && this.state !== 'unknown') return
    this.#misses += 1
    this.#isMisconfigured = hint === 'misconfigured'
    const isDead = hint === 'down' || this.#isMisconfigured || this.#misses >= this.#options.probeMisses
    if (!isDead && this.state === 'up') this.suspect(error)
    if (isDead && this.#lifecycle.canEnter('down')) this.#die(error)
    else if (!isDead && this.state === 'suspect') this.#schedule(0)
  }

  #die(error: Error): void {
    if (this.state === 'up') this.#suspectSince = now()
    // What it reported before says nothing about what it is when it returns.
    this.#report = undefined
    this.#previousReport = undefined
    this.#killer.clear()
    this.#lifecycle.enter('down', error)
    this.#fitness.note(this.unfitFor('write') === undefined)
    this.pool.cutAll(new ConnectionLostError(this.name, `the node is given up: ${error.message}`, { cause: error }))
    this.#schedule(this.#interval())
    this.#listener.onChange(this)
  }

  /** Connections to what is no address of the host any more end. */
  #follow(addresses: readonly string[]): void {
    this.pool.retire(({ dialled }) => !addresses.includes(dialled.address))
    if (this.#prober.address !== undefined && !addresses.includes(this.#prober.address)) this.#renew()
  }

  /** Asks on a fresh connection: the standing one may lead to a server that the host does not lead to any more. */
  #renew(): void {
    if (this.state === 'up' || this.state === 'suspect') void this.#prober.renew(this.#options.connectTimeoutMs)
  }
}
