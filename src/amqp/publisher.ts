import { backoffDelay } from '../core/backoff.js'
import { toError } from '../core/errors.js'
import type { WaitOptions } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import { Careful } from './careful.js'
import type { ChannelEnd } from './channel.js'
import { refusedExchange } from './classify.js'
import type { Counters } from './counters.js'
import { Entry, type Letter } from './entry.js'
import { Lane } from './lane.js'
import { Outbox } from './outbox.js'
import type { Session } from './session.js'
import type { Topology } from './topology.js'

/** Messages in flight at a time. It bounds the copies that a failover can make. */
const WINDOW = 1024
/** A refused message goes out again after this, or when there is a new channel. */
const REFUSAL_PAUSE = Object.freeze({ initialMs: 200, factor: 2, maxMs: 2000 })
const REOPEN_PAUSE = Object.freeze({ initialMs: 10, factor: 2, maxMs: 1000 })
/** Age at which a channel that refuses is replaced, growing while that does not help. */
const RENEWAL_PAUSE = Object.freeze({ initialMs: 40, factor: 2, maxMs: 5000 })
/**
 * After a reconnect a node may not know its queues yet: after a restart of all nodes it took seconds in which messages
 * came back as unroutable. For so long they are sent again instead.
 */
const RECOVERY_MS = 10_000
/**
 * A channel that gives no verdict for so long is given up, while its connection lives; doubled while that does not help.
 * A quorum queue that lost its leader can leave a channel without an answer for ever, while fresh ones are served.
 */
const SILENCE_MS = 5000
const MAX_SILENCE_MS = 60_000
const SILENCE_CHECK_MS = 1000
/** A channel that lived so long before it refused counts as a good one. */
const GOOD_AGE_MS = 10_000

/** What the publisher gets from the transport. @internal */
export interface PublisherOptions {
  readonly maxMessages: number
  readonly maxBytes: number
  readonly topology: Topology
  readonly counters: Counters
  /** Why nothing can be sent at present. */
  readonly whyWaiting: () => Error
  /** The confirm channel is open on this session: messages go out. */
  readonly onServing: (session: Session) => void
}

/**
 * Sends messages and keeps them until the broker confirmed them, over as many connections as that takes.
 *
 * A message is sent again only when the channel that had it is gone, never on the same live channel.
 * @internal
 */
export class Publisher {
  readonly #options: PublisherOptions
  readonly #outbox: Outbox<Entry>
  readonly #careful: Careful
  readonly #pauses = new Set<NodeJS.Timeout>()
  /** Refused messages until they go out again, with the timer that makes them. */
  readonly #refused = new Map<Entry, NodeJS.Timeout>()
  #session: Session | undefined
  #lane: Lane | undefined
  /** Lanes that were replaced and still wait for confirmations. */
  readonly #retired = new Set<Lane>()
  #renewalCount = 0
  #renewal: NodeJS.Timeout | undefined
  #isClosed = false
  #hasServed = false
  #silenceMs = SILENCE_MS
  readonly #silenceCheck: NodeJS.Timeout
  #recoveringUntil = 0
  #failedOpenings = 0

  constructor(options: PublisherOptions) {
    this.#options = options
    this.#outbox = new Outbox(options.maxMessages, options.maxBytes)
    this.#silenceCheck = setInterval(() => this.#giveUpSilentLanes(), SILENCE_CHECK_MS).unref()
    this.#careful = new Careful(options.topology, {
      onConfirmed: (entry) => this.#confirm(entry),
      onRefused: (entry) => this.#retryLater(entry),
      onReturned: () => this.#countReturn(),
      onFailed: (entry, error) => this.#fail(entry, error),
      onCleared: (entries) => {
        this.#outbox.putBack(entries)
        this.#pump()
      },
    })
  }

  get outbox(): { readonly messages: number; readonly bytes: number } {
    return this.#outbox
  }

  /** True while the broker owes a confirmation. */
  get isWaiting(): boolean {
    return (this.#lane?.inFlightCount ?? 0) > 0 || this.#retired.size > 0 || this.#careful.isWaiting
  }

  /** Publishes; throws `BackpressureError` at once when the outbox is full. */
  async publish(letter: Letter, wait: WaitOptions & { readonly timeoutMs: number }): Promise<void> {
    const { whyWaiting, counters } = this.#options
    this.#outbox.checkRoom(letter.content.length, this.#session === undefined ? whyWaiting() : undefined)
    const entry = new Entry(letter, wait, whyWaiting, (settled) => this.#onSettled(settled))
    counters.published += 1
    this.#outbox.add(entry)
    this.#pump()
    await entry.promise
  }

  /** Uses a new connection. */
  attach(session: Session): void {
    if (this.#hasServed) this.#recoveringUntil = now() + RECOVERY_MS
    this.#session = session
    session.onBlocked(() => {
      this.#careful.wake()
      this.#pump()
    })
    session.ending.on(() => {
      if (this.#session === session) this.#session = undefined
    })
    this.#renewalCount = 0
    clearTimeout(this.#renewal)
    this.#renewal = undefined
    this.#careful.attach(session)
    void this.#openLane(session)
  }

  /** Rejects what was never sent: the servers refuse us, and waiting does not mend that. */
  refuse(error: Error): void {
    for (const entry of this.#outbox.all()) if (!entry.mayBeStored) entry.settle(error)
  }

  /** Resolves when every message has its verdict. */
  async flush(): Promise<void> {
    await this.#outbox.empty()
  }

  /** Rejects everything at once; `reasonFor` is told whether the broker may have the message. */
  close(reasonFor: (mayBeStored: boolean) => Error): void {
    this.#isClosed = true
    clearInterval(this.#silenceCheck)
    for (const pause of this.#pauses) clearTimeout(pause)
    this.#pauses.clear()
    for (const timer of this.#refused.values()) clearTimeout(timer)
    this.#refused.clear()
    this.#careful.close()
    for (const entry of this.#outbox.all()) {
      entry.settle(reasonFor(entry.mayBeStored))
      this.#outbox.release(entry)
    }
  }

  async #openLane(session: Session): Promise<void> {
    try {
      const channel = await session.openConfirmChannel()
      this.#failedOpenings = 0
      const old = this.#lane
      const lane: Lane = new Lane(channel, WINDOW, {
        onConfirmed: (entry) => this.#confirm(entry),
        onRefused: (entry) => this.#onRefused(entry, session, lane),
        onReturned: () => this.#countReturn(),
        onRoom: () => this.#pump(),
        onEnded: (entries, end) => this.#onLaneEnded(session, lane, entries, end),
      })
      if (!channel.isOpen) return
      this.#lane = lane
      this.#retire(old)
      this.#hasServed = true
      this.#options.onServing(session)
      this.#sendRefused()
      this.#pump()
    } catch {
      this.#reopen(session)
    }
  }

  /**
   * A channel that first met a quorum queue without a leader refuses every later message to that queue, for ever, while
   * a fresh channel works (RabbitMQ 3.10: its session with the queue was never registered). So a channel that refuses
   * is replaced, without a stop for the others. A queue that refuses because it is full makes few of these: they back off.
   */
  #renew(session: Session, lane: Lane): void {
    if (this.#renewal !== undefined || lane !== this.#lane || this.#isClosed) return
    const age = now() - lane.openedAt
    this.#renewalCount = age > GOOD_AGE_MS ? 1 : this.#renewalCount + 1
    this.#renewal = this.#pause(Math.max(0, backoffDelay(this.#renewalCount, RENEWAL_PAUSE) - age), () => {
      this.#renewal = undefined
      if (lane === this.#lane && session.isOpen) void this.#openLane(session)
    })
  }

  #giveUpSilentLanes(): void {
    if (this.#session?.blockedReason !== undefined) return
    for (const lane of [this.#lane, ...this.#retired]) {
      if (lane === undefined || lane.silentMs < this.#silenceMs) continue
      this.#silenceMs = Math.min(2 * this.#silenceMs, MAX_SILENCE_MS)
      lane.channel.dismiss()
    }
  }

  #retire(lane: Lane | undefined): void {
    if (lane?.channel.isOpen !== true) return
    this.#retired.add(lane)
    lane.retire()
  }

  #reopen(session: Session): void {
    if (!session.isOpen || this.#isClosed) return
    this.#failedOpenings += 1
    this.#pause(backoffDelay(this.#failedOpenings, REOPEN_PAUSE), () => void this.#openLane(session))
  }

  #onLaneEnded(session: Session, lane: Lane, entries: readonly Entry[], end: ChannelEnd): void {
    const wasCurrent = lane === this.#lane
    if (wasCurrent) this.#lane = undefined
    this.#retired.delete(lane)
    if (this.#isClosed) return
    const suspects = end.isRefusal ? this.#suspects(entries, end.error) : []
    this.#outbox.putBack(entries.filter((entry) => !suspects.includes(entry)))
    if (!session.isOpen) return
    if (!wasCurrent) this.#pump()
    else if (entries.length === 0) this.#reopen(session)
    else void this.#openLane(session)
  }

  /** The broker names the exchange it refused, or nobody: then each message in flight has to be tried alone. */
  #suspects(entries: readonly Entry[], error: Error): readonly Entry[] {
    const exchange = refusedExchange(error)
    const named = exchange === undefined ? [] : entries.filter(({ letter }) => letter.exchange === exchange)
    if (exchange !== undefined && named.length > 0) {
      this.#careful.suspectExchange(exchange, named)
      return named
    }
    this.#careful.suspect(entries)
    return entries
  }

  #pump(): void {
    const lane = this.#lane
    while (lane?.hasRoom === true && this.#session?.blockedReason === undefined) {
      const entry = this.#outbox.take()
      if (entry === undefined) return
      if (entry.isSettled) this.#outbox.release(entry)
      else if (this.#careful.wants(entry)) this.#careful.add(entry)
      else this.#send(lane, entry)
    }
  }

  #send(lane: Lane, entry: Entry): void {
    try {
      if (entry.isRepetition) this.#options.counters.resent += 1
      lane.send(entry)
    } catch (error) {
      this.#fail(entry, toError(error))
    }
  }

  #confirm(entry: Entry): void {
    this.#silenceMs = SILENCE_MS
    if (entry.returned !== undefined && now() < this.#recoveringUntil) {
      this.#postpone(entry)
      return
    }
    if (entry.returned === undefined) this.#options.counters.confirmed += 1
    entry.confirmed()
    this.#outbox.release(entry)
  }

  #fail(entry: Entry, error: Error): void {
    entry.isInFlight = false
    entry.settle(error)
    this.#outbox.release(entry)
  }

  #onRefused(entry: Entry, session: Session, lane: Lane): void {
    this.#retryLater(entry)
    this.#renew(session, lane)
  }

  /** A refusal is temporary as a rule (the queue has no leader yet, is full): tried again until the caller's limit. */
  #retryLater(entry: Entry): void {
    this.#options.counters.nacked += 1
    this.#postpone(entry)
  }

  #postpone(entry: Entry): void {
    const refusals = entry.refused()
    if (entry.isSettled) {
      this.#outbox.release(entry)
      return
    }
    const timer = setTimeout(
      () => {
        this.#refused.delete(entry)
        this.#outbox.append(entry)
        this.#pump()
      },
      backoffDelay(refusals, REFUSAL_PAUSE),
    )
    this.#refused.set(entry, timer)
  }

  /** There is a new channel: no need to wait any longer. */
  #sendRefused(): void {
    for (const [entry, timer] of this.#refused) {
      clearTimeout(timer)
      this.#outbox.append(entry)
    }
    this.#refused.clear()
  }

  #countReturn(): void {
    this.#options.counters.returned += 1
  }

  /** An entry that is in flight stays in the outbox until its channel let go of it. */
  #onSettled(entry: Entry): void {
    if (!entry.isInFlight) this.#outbox.release(entry)
  }

  #pause(ms: number, then: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#pauses.delete(timer)
      then()
    }, ms)
    this.#pauses.add(timer)
    return timer
  }
}
