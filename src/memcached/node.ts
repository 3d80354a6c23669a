import { backoffDelay } from '../core/backoff.js'
import { toError } from '../core/errors.js'
import { Lifecycle } from '../core/lifecycle.js'
import { now } from '../core/timing.js'
import { ask, markOperation, TransportDown } from './control.js'
import { HeirMarks } from './heir-marks.js'
import { Journal } from './journal.js'
import type { NodeOutage, NodeOwner, NodePosition, NodeState } from './node-owner.js'
import type { ResolvedMemcachedOptions } from './options.js'
import { rejoin, type Readmission } from './rejoin.js'
import type { ServerAddress } from './server-address.js'
import type { Operation, Transport, TransportFactory, TransportFailure } from './transport.js'

const JOURNAL_BYTES = 4 * 1024 * 1024
const PROBE_GROWTH = 1.5
/** A node that nobody asks anything is asked for a sign of life so often; a call would find out too late for itself. */
const IDLE_CHECK_MS = 1000
/** A node that lived shorter than this is flapping: the next probe is not sent at once. */
const STABLE_AFTER_MS = 5000

/**
 * One memcached server: its connections, whether it may be used, and the way back.
 *
 * The only requests that a node gets while it is out are probes, on a connection of their own, which becomes the node's
 * connection when it returns.
 * @internal
 */
export class CacheNode {
  readonly index: number
  readonly name: string
  readonly journal = new Journal(JOURNAL_BYTES)
  /** As it is written in the list now. */
  server: ServerAddress
  readonly #options: ResolvedMemcachedOptions
  readonly #openTransport: TransportFactory
  readonly #owner: NodeOwner
  readonly #lifecycle: Lifecycle<NodeState>
  readonly #marks = new HeirMarks()
  #watermark = 0
  #lastCas = 0
  #connections: Transport[] = []
  /** The address that it was reached at last. */
  #address: string | undefined
  #probe: Transport | undefined
  /** How the probe has ended, if it has. */
  #probeFailure: TransportFailure | undefined
  #lastError: Error | undefined
  #absences: number
  #evictionCount = 0
  #outAt = 0
  #inAt = -Infinity
  #outage: NodeOutage | undefined
  #isReportedDown = false
  #isReportedUp = false
  #isGivenUpAsSlow = false
  #mustSettle = false
  #flaps = 0
  #timer: NodeJS.Timeout | undefined
  #idleCheck: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(
    { index, server, absences, joins }: NodePosition,
    options: ResolvedMemcachedOptions,
    openTransport: TransportFactory,
    owner: NodeOwner,
  ) {
    this.index = index
    this.name = server.name
    this.server = server
    this.#absences = absences
    this.#lifecycle = new Lifecycle<NodeState>(joins ? 'dead' : 'connecting', {
      connecting: ['live', 'suspect', 'dead', 'removed'],
      live: ['suspect', 'dead', 'removed'],
      suspect: ['returning', 'dead', 'removed'],
      dead: ['returning', 'removed'],
      returning: ['live', 'suspect', 'dead', 'removed'],
      removed: [],
    })
    this.#options = options
    this.#openTransport = openTransport
    this.#owner = owner
  }

  get state(): NodeState {
    return this.#lifecycle.state
  }

  /** Wall-clock time of the last change of state. */
  get since(): number {
    return this.#lifecycle.since
  }

  get lastError(): Error | undefined {
    return this.#lastError
  }

  get pending(): number {
    return this.#connections.reduce((sum, connection) => sum + connection.pending, 0)
  }

  /** How often it has gone out; tells one absence from the next. */
  get absences(): number {
    return this.#absences
  }

  /** How often it has gone out by itself. */
  get evictionCount(): number {
    return this.#evictionCount
  }

  /** Own values with a CAS id up to this are misses; 0 when none is. */
  get watermark(): number {
    return this.#watermark
  }

  /** True for a node that was given up for missing time limits, not for refusing. */
  get isGivenUpAsSlow(): boolean {
    return this.#isGivenUpAsSlow
  }

  /** Starts connecting. */
  start(): void {
    if (this.state === 'dead') {
      this.#join()
      return
    }
    this.#connections = this.#openConnections(this.#options.connectionsPerNode)
  }

  /** Which of its connections takes a request with this hash: always the same, so that those of one key stay in order. */
  placeOf(hash: number): number {
    const { length } = this.#connections
    return length > 1 ? hash % length : 0
  }

  /** True while there is one connection for all requests. */
  get hasOnePlace(): boolean {
    return this.#connections.length === 1
  }

  /** Sends a request; only while the node is in the ring. */
  submit(operation: Operation): void {
    this.#connections[this.placeOf(operation.hash)]?.submit(operation)
  }

  /** Ends everything; pending requests fail with `error`. */
  stop(error: Error): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    clearInterval(this.#idleCheck)
    for (const connection of this.#connections.splice(0)) connection.cut(error)
    this.#probe?.cut(error)
  }

  /** Takes it out of use for good; its connections live on until `stop`. */
  remove(): void {
    this.#absences += 1
    this.#lifecycle.enter('removed')
    this.journal.overflow()
  }

  /** All that it holds now is old: told by its age from now on while it is used, and when it returns while it is out. */
  outdate(): void {
    this.journal.overflow()
    if (this.#connections.length === 0) return
    this.journal.clear()
    this.#watermark = Infinity
    this.submit(
      markOperation(
        (cas, error) => (this.#watermark = error === undefined ? cas : Infinity),
        () => this.journal.overflow(),
      ),
    )
  }

  /** Everything here was stored while the node with this number did not exist: none of it is older than its absence. */
  welcome(index: number): void {
    this.#marks.set(index, 0)
  }

  /** Forgets the removed node with this number: what is older than its removal is old for good. */
  forget(index: number): void {
    const mark = this.#marks.of(index)
    // Who returns has begun with the watermark that there was.
    if (mark === Infinity || this.state === 'returning') this.outdate()
    else this.#watermark = Math.max(this.#watermark, mark)
  }

  /** Notes how old the values here are at the moment the nodes `out` go unused; older ones are misses on an heir. */
  markAbsenceOf(out: readonly CacheNode[]): void {
    this.submit(this.#marks.take(out, (cas) => (this.#lastCas = cas)))
  }

  /** True when the value with this CAS id was stored here after all of the nodes `out` went unused. */
  hasStoredSince(cas: number, out: readonly CacheNode[]): boolean {
    if (this.#marks.mustRetry(out)) this.markAbsenceOf(out)
    return this.#marks.isYounger(cas, out)
  }

  #openConnections(count: number): Transport[] {
    return Array.from({ length: count }, () => this.#open())
  }

  #open(): Transport {
    const transport = this.#openTransport(
      { ...this.#options, server: this.server },
      {
        onReady: () => this.#onReady(transport),
        onDown: (failure) => this.#onConnectionDown(transport, failure),
      },
    )
    return transport
  }

  #onReady(transport: Transport): void {
    if (this.state !== 'connecting' || !this.#connections.includes(transport)) return
    this.#address = transport.address
    this.#enterLive()
    if (this.#options.rejoin !== 'trust') this.markAbsenceOf([])
    this.#announceIn()
  }

  #onConnectionDown(transport: Transport, failure: TransportFailure): void {
    if (transport === this.#probe) this.#probeFailure = failure
    if (!this.#connections.includes(transport)) return
    const others = this.#connections.filter((other) => other !== transport)
    // A server that has no room for one more connection is not dead: the others do.
    if (failure.kind === 'busy' && others.length > 0 && this.state === 'live') this.#connections = others
    else this.#takeOut(failure)
  }

  #takeOut(failure: TransportFailure): void {
    clearInterval(this.#idleCheck)
    const connections = this.#connections.splice(0)
    this.#absences += 1
    this.#evictionCount += 1
    this.#outAt = now()
    this.#flaps = this.#outAt - this.#inAt < STABLE_AFTER_MS ? this.#flaps + 1 : 0
    this.#outage = { cause: failure.error, detectedMs: this.#outAt - failure.troubleAt, wasUsed: this.#isReportedUp }
    // Only a connection that was closed with nothing unanswered proves that no write, of ours or another client's,
    // waits in the node to be applied when it goes on.
    this.#mustSettle = failure.kind !== 'lost' || failure.wasWriting || connections.length > 1
    this.#lastError = failure.error
    this.#lifecycle.enter(failure.kind === 'lost' ? 'dead' : 'suspect', failure.error)
    this.#owner.onOut(this)
    for (const connection of connections) connection.cut(failure.error)
    // Calls that the node owes an answer go on to their heirs first: a microtask comes after they are written.
    queueMicrotask(() => {
      if (this.state === 'dead') this.#reportDown()
      // A suspect has taken its time already; a node that refuses could otherwise be dialled without end.
      void this.#recover(this.state === 'dead' ? this.#flaps : 0)
    })
  }

  /** A server that is added may hold anything: all of it counts as old. */
  #join(): void {
    this.#absences += 1
    this.#outAt = now()
    this.#mustSettle = true
    this.journal.overflow()
    void this.#recover(0)
  }

  /** Probes until the node is back. Never rejects. */
  async #recover(firstAttempt: number): Promise<void> {
    for (let attempt = firstAttempt; !this.#hasStopped(); attempt += 1) {
      if (attempt > 0) await this.#pause(this.#probeDelay(attempt))
      if (this.#hasStopped()) return
      const transport = this.#open()
      this.#probe = transport
      this.#probeFailure = undefined
      try {
        await ask(transport, 'noop')
        this.#lifecycle.enter('returning')
        await rejoin(transport, this.#returning(transport), (readmission) => this.#readmit(transport, readmission))
        return
      } catch (error) {
        transport.cut(toError(error))
        this.#probe = undefined
        if (!this.#hasStopped()) this.#onProbeFailed(error)
      }
    }
  }

  /** A method, because the answer changes during each wait, which the compiler does not see of a field. */
  #hasStopped(): boolean {
    return this.#isStopped
  }

  #returning({ address }: Transport): Parameters<typeof rejoin>[1] {
    return {
      policy: this.#options.rejoin,
      journal: this.journal,
      lastCas: this.#lastCas,
      watermark: this.#watermark,
      isElsewhere: this.#address !== undefined && address !== this.#address,
      mustSettle: this.#mustSettle,
      outMs: () => now() - this.#outAt,
      pause: (ms) => this.#pause(ms),
      copyFromHeir: this.#options.warmUp ? (key) => this.#owner.copyFromHeir(this, key) : undefined,
    }
  }

  #readmit(transport: Transport, { lastCas, watermark }: Readmission): void {
    if (this.#isStopped) return
    // It may have ended in the same turn as it answered last.
    if (this.#probeFailure !== undefined) throw new TransportDown(this.#probeFailure)
    this.#watermark = watermark
    this.#lastCas = lastCas
    this.#address = transport.address
    this.#probe = undefined
    this.#connections = [transport, ...this.#openConnections(this.#options.connectionsPerNode - 1)]
    this.#enterLive()
    this.#announceIn()
  }

  #enterLive(): void {
    this.#inAt = now()
    this.#isGivenUpAsSlow = false
    this.#lifecycle.enter('live')
    this.#idleCheck = setInterval(() => this.#checkIdle(), IDLE_CHECK_MS).unref()
  }

  #checkIdle(): void {
    if (this.#watermark === Infinity) this.outdate()
    const missing = this.#options.connectionsPerNode - this.#connections.length
    this.#connections.push(...this.#openConnections(missing))
    for (const connection of this.#connections) {
      if (connection.pending === 0) ask(connection, 'noop').catch(() => undefined)
    }
  }

  #announceIn(): void {
    const isNews = this.#isReportedDown || !this.#isReportedUp
    this.#isReportedDown = false
    this.#isReportedUp = true
    this.#owner.onIn(this)
    if (isNews) this.#owner.onUp(this)
  }

  #onProbeFailed(error: unknown): void {
    const failure = error instanceof TransportDown ? error.failure : undefined
    this.#lastError = failure?.error ?? toError(error)
    const isSlow = failure?.kind === 'silent'
    this.#mustSettle ||= isSlow
    this.#outage ??= { cause: this.#lastError, detectedMs: now() - this.#outAt, wasUsed: false }
    if (this.state !== 'dead') {
      const isGivenUp = failure?.kind === 'lost' || (isSlow && this.#owner.mayGiveUpSlowNode())
      this.#isGivenUpAsSlow = isGivenUp && isSlow
      const to = isGivenUp ? 'dead' : 'suspect'
      if (this.state !== to) this.#lifecycle.enter(to, this.#lastError)
    }
    this.#reportDown()
  }

  #reportDown(): void {
    if (this.#isReportedDown || this.#isStopped || this.#outage === undefined) return
    this.#isReportedDown = true
    this.#owner.onDown(this, this.#outage)
  }

  /** A suspect is expected back at once, so its pauses do not grow. */
  #probeDelay(attempt: number): number {
    const { probeIntervalMs, deadRetryMs } = this.#options
    const factor = this.state === 'suspect' ? 1 : PROBE_GROWTH
    return backoffDelay(attempt, { initialMs: probeIntervalMs, factor, maxMs: deadRetryMs })
  }

  /** Waits without keeping the process alive; `stop()` leaves it waiting for ever. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#timer = setTimeout(resolve, ms).unref()
    })
  }
}
